#include "engine/load/load_model.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/log.h"
#include "engine/api/machine.h"
#include "engine/drafting/draft_planner.h"
#include "engine/drafting/prompt_lookup.h"
#include "engine/load/calibration.h"
#include "engine/load/describe_model.h"
#include "engine/load/load_types.h"
#include "engine/load/memory_need.h"
#include "engine/load/open_device.h"
#include "engine/load/open_model.h"
#include "engine/model/config/generation_defaults.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr uint32_t kLeastSliceRows = 64;

Status CheckOptions(const EngineOptions& o) {
  if (o.model_dir.empty()) return InvalidArgument("no model directory was given (--model)");
  const auto range = [](std::string_view flag, uint64_t value, uint64_t least, uint64_t most) {
    if (value >= least && value <= most) return OkStatus();
    return InvalidArgument(fmt::format("{} is {}, must be {} to {}", flag, value, least, most));
  };
  PRECIS_RETURN_IF_ERROR(range("--max-batch", o.max_batch, 1, 1024));
  PRECIS_RETURN_IF_ERROR(range("--max-sequences", o.max_sequences, 1, 1u << 20));
  PRECIS_RETURN_IF_ERROR(range("--max-source-tokens", o.max_source_tokens, 1, 1u << 17));
  PRECIS_RETURN_IF_ERROR(range("--max-new-tokens", o.max_new_tokens, 1, 1u << 16));
  PRECIS_RETURN_IF_ERROR(
      range("--encode-slice-rows", o.encode_slice_rows, kLeastSliceRows, 1u << 13));
  if (!(o.encode_budget >= 0 && o.encode_budget <= 1000)) {
    return InvalidArgument(
        fmt::format("--encode-budget is {}, must be 0 to 1000", o.encode_budget));
  }
  return OkStatus();
}

// Of the device's own memory, else of this process's.
MemoryLimit LimitOf(const Backend& backend) {
  if (const std::optional<uint64_t> free = backend.FreeDeviceBytes()) {
    return {.bytes = *free, .whose = "the device has free"};
  }
  return DetectMemoryLimit();
}

// Before anything is claimed. Other processes come and go: what they have is worth a warning.
Status CheckMemoryBefore(const MemoryNeed& need, const Backend& backend) {
  PRECIS_RETURN_IF_ERROR(CheckMemory(need, LimitOf(backend)));
  const uint64_t available = DetectAvailableBytes();
  const uint64_t wanted = need.Sum() - need.reserved;
  if (!backend.FreeDeviceBytes() && available != 0 && wanted > available) {
    spdlog::warn(
        "memory: {} are needed in time, and {} are available now: other processes have "
        "the rest of this machine",
        HumanBytes(wanted), HumanBytes(available));
  }
  return OkStatus();
}

StatusOr<uint32_t> PoolPages(const EngineOptions& options, const Backend& backend,
                             uint64_t weight_bytes, uint64_t page_bytes) {
  uint64_t bytes = options.pool_bytes;
  if (bytes == 0) {
    // A device says what it has beside its weights.
    const uint64_t left = LimitOf(backend).left();
    const uint64_t weights = backend.FreeDeviceBytes() ? 0 : weight_bytes;
    bytes = (left > weights ? left - weights : 0) / 5 * 4;
  }
  const uint64_t pages = std::min<uint64_t>(bytes / page_bytes, 1u << 30);
  if (pages < 2) {
    return InvalidArgument(
        fmt::format("a page pool of {} bytes is too small: one page has {} bytes (--pool-bytes)",
                    bytes, page_bytes));
  }
  return static_cast<uint32_t>(pages);
}

void Warn(const Checkpoint& checkpoint, const ModelConfig& config,
          const GenerationDefaults& defaults) {
  for (const std::string& note : config.token_notes) spdlog::warn("{}", note);
  if (config.quantization) {
    spdlog::warn("{}: quantization_config {} is not applied: the weights are plain ones",
                 config.file, *config.quantization);
  }
  for (const std::string& name : checkpoint.UnreadNames()) {
    if (config.names.MayBeUnread(name)) continue;
    spdlog::warn("{} is not used", checkpoint.Describe(name));
  }
  for (const std::string& key : defaults.unsupported) {
    spdlog::warn("not honoured: {}", key);
  }
}

// Once there is memory for all.
void Calibrate(const EngineOptions& options, StepRunner::Parts* parts) {
  Calibration calibration(*parts->model);
  parts->encode_costs = calibration.TimeEncoder();
  parts->drafter = std::make_unique<Drafter>(
      options.max_sequences, options.max_batch,
      std::make_unique<PromptLookups>(options.max_sequences),
      std::make_unique<DraftPlanner>(options.max_batch, calibration.TimeSteps()));
}

}  // namespace

EngineOptions WithinPositions(EngineOptions options, const Architecture& arch) {
  if (const uint32_t most = arch.encoder.max_positions; most != 0) {
    options.max_source_tokens = std::min(options.max_source_tokens, most);
  }
  // The start token has a position, too.
  if (const uint32_t most = arch.decoder.max_positions; most != 0) {
    options.max_new_tokens = std::min(options.max_new_tokens, most - 1);
  }
  return options;
}

StatusOr<LoadedModel> LoadModel(const EngineOptions& options) {
  PRECIS_RETURN_IF_ERROR(CheckOptions(options));
  const uint32_t threads = options.threads != 0 ? options.threads : DetectCpus();
  PRECIS_ASSIGN_OR_RETURN(auto backend,
                          OpenDevice({options.device, options.isa, threads, options.cuda_graphs},
                                     options.dtype, MakeBackend));
  return LoadModelOn(std::move(backend), options);
}

StatusOr<LoadedModel> LoadModelOn(std::unique_ptr<Backend> backend, const EngineOptions& asked) {
  const std::string& dir = asked.model_dir;
  PRECIS_ASSIGN_OR_RETURN(const LoadTypes types,
                          ResolveTypes(asked.dtype, asked.kv_dtype, NativeDType(*backend)));
  PRECIS_ASSIGN_OR_RETURN(OpenedModel model, OpenModel(dir, types.kv));
  PRECIS_ASSIGN_OR_RETURN(GenerationDefaults defaults, LoadGenerationDefaults(dir));
  const ModelConfig& config = model.config;
  const EngineOptions options = WithinPositions(asked, config);
  const KvLayout& layout = model.layout;
  PRECIS_RETURN_IF_ERROR(CheckSizes(model));
  PRECIS_RETURN_IF_ERROR(
      CheckMemoryBefore(NeedOf(model, types.weights, options, *backend), *backend));

  PRECIS_ASSIGN_OR_RETURN(ModelWeights weights,
                          LoadModelWeights(*model.checkpoint, config, model.attention,
                                           model.embeddings, *backend, types.weights,
                                           {options.max_source_tokens, options.max_new_tokens,
                                            options.encode_slice_rows, options.max_batch}));
  PRECIS_RETURN_IF_ERROR(backend->Prepare(
      {std::max(config.encoder.num_heads, config.decoder.num_heads),
       std::max(config.encoder.head_dim, config.decoder.head_dim), options.max_source_tokens,
       options.max_new_tokens, options.max_batch, options.encode_slice_rows, config.vocab_size,
       std::min(layout.self.slots, layout.cross.slots)}));
  PRECIS_ASSIGN_OR_RETURN(const uint32_t pages,
                          PoolPages(options, *backend, weights.bytes, layout.page_bytes));
  PRECIS_ASSIGN_OR_RETURN(KvMemory memory, KvMemory::Create(*backend, pages, layout.page_bytes));

  LoadedModel out;
  out.options = options;
  out.info = DescribeModel(dir, config, model.attention, layout);
  if (!options.served_model_name.empty()) out.info.name = options.served_model_name;
  out.info.defaults = std::move(defaults);
  Warn(*model.checkpoint, config, out.info.defaults);
  PRECIS_ASSIGN_OR_RETURN(out.info.fingerprint, model.checkpoint->Fingerprint());
  out.info.folded = weights.folded;
  out.info.weight_bytes = weights.bytes;
  out.info.pool_pages = pages;
  out.info.pool_bytes = uint64_t{pages} * layout.page_bytes;
  out.info.device = backend->name();
  out.info.kernels = backend->Describe();
  out.info.numerics =
      fmt::format("weights {}, kv {}, {} {}, {} threads", DTypeName(types.weights.projections),
                  DTypeName(types.kv), std::string(backend->name()), std::string(backend->isa()),
                  backend->num_threads());
  DeviceAllocator allocator(*backend);
  out.parts.max_sequences = options.max_sequences;
  out.parts.model =
      std::make_unique<Model>(options, std::move(model.config), std::move(backend),
                              std::move(weights), layout, std::move(memory), allocator);
  PRECIS_RETURN_IF_ERROR(Annotate(allocator.status(), "the model's buffers"));
  Calibrate(options, &out.parts);
  PRECIS_RETURN_IF_ERROR(
      Annotate(out.parts.model->backend->Wait(), "the device failed while loading"));
  return out;
}

}  // namespace precis
