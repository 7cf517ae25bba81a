#include "tools/convert/convert.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "engine/load/load_types.h"
#include "engine/load/open_model.h"
#include "engine/model/checkpoint/directory_kind.h"
#include "engine/model/checkpoint/json_file.h"
#include "fmt/format.h"
#include "tools/convert/capacity_curve.h"
#include "tools/convert/choose_target.h"
#include "tools/convert/convert_plan.h"
#include "tools/convert/convert_work.h"
#include "tools/convert/new_directory.h"
#include "tools/convert/stored_values.h"

namespace precis {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 16u << 20;
constexpr uint64_t kMaxTokenizerBytes = 256u << 20;
constexpr size_t kChunkBytes = 1u << 20;
constexpr const char* kCopiedFiles[] = {
    "generation_config.json",  "spiece.model",      "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json",     "merges.txt"};

std::vector<uint32_t> CountsOf(const std::vector<HeadGrouping>& layers) {
  std::vector<uint32_t> counts;
  for (const HeadGrouping& grouping : layers) {
    counts.push_back(static_cast<uint32_t>(grouping.groups.size()));
  }
  return counts;
}

uint64_t SumOf(const std::vector<uint32_t>& counts) {
  uint64_t sum = 0;
  for (const uint32_t count : counts) sum += count;
  return sum;
}

// Keys of a variant as config.json has them (docs/design/attention_variants.md).
json Listed(const std::vector<HeadGrouping>& layers, bool as_order) {
  json out = json::array();
  for (const HeadGrouping& grouping : layers) {
    json layer = json::array();
    for (const auto& group : grouping.groups) {
      if (as_order) {
        for (const uint32_t head : group) layer.push_back(head);
      } else {
        layer.push_back(group);
      }
    }
    out.push_back(std::move(layer));
  }
  return out;
}

void SetVariantKeys(const ConvertTarget& target, json& config) {
  for (const char* key : {"head_order", "head_groups"}) config.erase(key);
  config["attention_variant"] = std::string(AttentionVariantName(target.variant));
  config["num_key_value_heads"] = target.num_kv_heads;
  const bool as_order = target.variant == AttentionVariant::kSimGqa;
  if (!as_order && target.variant != AttentionVariant::kQcqa) return;
  json& listed = config[as_order ? "head_order" : "head_groups"];
  listed["self"] = Listed(target.groupings.self, as_order);
  listed["cross"] = Listed(target.groupings.cross, as_order);
}

class Conversion {
 public:
  explicit Conversion(const ConvertOptions& options)
      : options_(options), work_(options, NeedsSearch(options) ? 3 : 2) {}

  StatusOr<ConvertReport> Run() {
    PRECIS_RETURN_IF_ERROR(CheckWords(options_));
    PRECIS_ASSIGN_OR_RETURN(const DType kv_dtype,
                            ParseDType("--kv-dtype", options_.kv_dtype, std::nullopt));
    PRECIS_RETURN_IF_ERROR(CheckAbsent(options_.destination));
    PRECIS_RETURN_IF_ERROR(Open());
    PRECIS_ASSIGN_OR_RETURN(const ResolvedAttention source,
                            ResolveAttention(config_, *checkpoint_));
    PRECIS_ASSIGN_OR_RETURN(chosen_, ChooseTarget(options_, *checkpoint_, config_, source, work_));
    PRECIS_ASSIGN_OR_RETURN(plan_,
                            PlanTensors(*checkpoint_, config_, chosen_.fold, chosen_.target));
    PRECIS_RETURN_IF_ERROR(CheckValues());
    PRECIS_RETURN_IF_ERROR(Write());
    return Report(source, kv_dtype);
  }

 private:
  Status Open() {
    PRECIS_RETURN_IF_ERROR(CheckModelDirectory(options_.source));
    PRECIS_ASSIGN_OR_RETURN(config_file_,
                            ReadJsonFile(options_.source + "/config.json", kMaxConfigBytes));
    PRECIS_ASSIGN_OR_RETURN(config_, LoadModelConfig(options_.source));
    PRECIS_ASSIGN_OR_RETURN(checkpoint_, OpenCheckpoint(options_.source, config_));
    return options_.fold.empty() || options_.kv_heads == 0 ? OkStatus() : TakeKvHeads();
  }

  // The authors' checkpoints do not say how many KV heads their weights are for.
  Status TakeKvHeads() {
    std::optional<uint32_t>& said = config_.num_key_value_heads;
    if (said && *said != options_.kv_heads) {
      return InvalidArgument(fmt::format("--kv-heads: {}, but {} has num_key_value_heads {}",
                                         options_.kv_heads, config_.file, *said));
    }
    if (config_.decoder.num_heads % options_.kv_heads != 0) {
      return InvalidArgument(fmt::format("--kv-heads: {} does not divide num_heads {} of {}",
                                         options_.kv_heads, config_.decoder.num_heads,
                                         config_.file));
    }
    said = options_.kv_heads;
    return OkStatus();
  }

  uint64_t PlannedBytes() const {
    uint64_t bytes = 0;
    for (const PlannedFile& file : plan_) {
      for (const PlannedTensor& tensor : file.tensors) bytes += tensor.num_bytes;
    }
    return bytes;
  }

  // The stored bytes of a copied tensor in pieces.
  Status ForEachChunk(const PlannedTensor& tensor,
                      const std::function<Status(std::span<const std::byte>)>& act) {
    std::vector<std::byte> chunk(std::min<uint64_t>(kChunkBytes, tensor.num_bytes));
    for (uint64_t at = 0; at < tensor.num_bytes; at += kChunkBytes) {
      const auto part = std::span(chunk).first(
          static_cast<size_t>(std::min<uint64_t>(kChunkBytes, tensor.num_bytes - at)));
      PRECIS_RETURN_IF_ERROR(checkpoint_->ReadStored(tensor.name, at, part));
      PRECIS_RETURN_IF_ERROR(act(part));
      PRECIS_RETURN_IF_ERROR(work_.Advance(tensor.name, part.size()));
    }
    return OkStatus();
  }

  // Everything is read once before anything is written.
  Status CheckValues() {
    work_.BeginPhase("checking", PlannedBytes());
    for (const PlannedFile& file : plan_) {
      for (const PlannedTensor& tensor : file.tensors) {
        StoredValues values(tensor.dtype_name);
        if (tensor.make) {
          PRECIS_ASSIGN_OR_RETURN(const std::vector<float> made, tensor.make());
          values.Add(std::as_bytes(std::span(made)));
          PRECIS_RETURN_IF_ERROR(work_.Advance(tensor.name, tensor.num_bytes));
        } else {
          PRECIS_RETURN_IF_ERROR(ForEachChunk(tensor, [&](std::span<const std::byte> bytes) {
            values.Add(bytes);
            return OkStatus();
          }));
        }
        PRECIS_RETURN_IF_ERROR(Judge(tensor, values));
      }
    }
    return OkStatus();
  }

  Status Judge(const PlannedTensor& tensor, const StoredValues& values) const {
    if (const std::optional<uint64_t> index = values.first_bad()) {
      return InvalidArgument(fmt::format("{}: value at index {} is not finite",
                                         checkpoint_->Describe(tensor.name), *index));
    }
    if (!values.all_zero() || !IsDecoderKv(tensor.name)) return OkStatus();
    return InvalidArgument(
        fmt::format("{}: all values are zero", checkpoint_->Describe(tensor.name)));
  }

  bool IsDecoderKv(const std::string& name) const {
    const TensorNames& names = config_.names;
    for (uint32_t layer = 0; layer < config_.decoder.layers; ++layer) {
      for (const bool cross : {false, true}) {
        const std::string prefix = names.DecoderAttention(layer, cross);
        if (name == names.Projection(prefix, 'k') || name == names.Projection(prefix, 'v')) {
          return true;
        }
      }
    }
    return false;
  }

  Status Write() {
    PRECIS_ASSIGN_OR_RETURN(const auto directory, NewDirectory::Begin(options_.destination));
    const std::string& dir = directory->path();
    work_.BeginPhase("writing", PlannedBytes());
    for (const PlannedFile& file : plan_) PRECIS_RETURN_IF_ERROR(WriteTensors(dir, file));
    if (plan_.size() > 1 || plan_[0].name != "model.safetensors") {
      PRECIS_RETURN_IF_ERROR(WriteNewFile(dir + "/model.safetensors.index.json", IndexOf(plan_)));
    }
    SetVariantKeys(chosen_.target, config_file_.root);
    PRECIS_RETURN_IF_ERROR(WriteNewFile(dir + "/config.json", config_file_.root.dump(2) + "\n"));
    PRECIS_RETURN_IF_ERROR(CopyFiles(dir));
    if (!chosen_.curve.empty()) {
      PRECIS_RETURN_IF_ERROR(WriteNewFile(dir + "/qcqa_curve.csv", CurveCsv(chosen_.curve)));
      PRECIS_RETURN_IF_ERROR(
          WriteNewFile(dir + "/qcqa_curve.svg", CurveSvg(chosen_.curve, chosen_.curve_kv_heads)));
    }
    PRECIS_RETURN_IF_ERROR(CheckLoads(dir));
    PRECIS_RETURN_IF_ERROR(work_.Advance(options_.destination, 0));  // the last moment to stop
    return directory->Commit();
  }

  Status WriteTensors(const std::string& dir, const PlannedFile& file) {
    PRECIS_ASSIGN_OR_RETURN(const auto out, NewFile::Create(dir + "/" + file.name));
    PRECIS_RETURN_IF_ERROR(out->Write(file.Header()));
    for (const PlannedTensor& tensor : file.tensors) {
      if (tensor.make) {
        PRECIS_ASSIGN_OR_RETURN(const std::vector<float> made, tensor.make());
        PRECIS_RETURN_IF_ERROR(out->Write(std::as_bytes(std::span(made))));
        PRECIS_RETURN_IF_ERROR(work_.Advance(tensor.name, tensor.num_bytes));
      } else {
        PRECIS_RETURN_IF_ERROR(ForEachChunk(
            tensor, [&](std::span<const std::byte> bytes) { return out->Write(bytes); }));
      }
    }
    return out->Close();
  }

  Status CopyFiles(const std::string& dir) {
    for (const char* name : kCopiedFiles) {
      const std::string from = options_.source + "/" + name;
      const auto bytes = ReadSmallFile(from, kMaxTokenizerBytes);
      if (absl::IsNotFound(bytes.status())) continue;
      PRECIS_RETURN_IF_ERROR(bytes.status());
      PRECIS_RETURN_IF_ERROR(WriteNewFile(dir + "/" + name, *bytes));
    }
    return OkStatus();
  }

  // The loader's own reading of config and headers: what it would refuse must not get its name.
  static Status CheckLoads(const std::string& dir) {
    PRECIS_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(dir));
    PRECIS_ASSIGN_OR_RETURN(const auto checkpoint, OpenCheckpoint(dir, config));
    return ResolveAttention(config, *checkpoint).status();
  }

  std::vector<std::string> NotCopied() const {
    std::set<std::string> known = {"config.json"};
    known.insert(std::begin(kCopiedFiles), std::end(kCopiedFiles));
    for (const std::string& file : checkpoint_->files()) known.insert(file);
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(options_.source, ignored)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with('.') && !known.contains(name)) names.push_back(name);
    }
    std::ranges::sort(names);
    return names;
  }

  ConvertReport Report(const ResolvedAttention& source, DType kv_dtype) const {
    ConvertReport report;
    report.source_variant = std::string(AttentionVariantName(source.variant));
    report.variant = std::string(AttentionVariantName(chosen_.target.variant));
    report.num_heads = config_.decoder.num_heads;
    report.self_kv_heads = CountsOf(chosen_.target.groupings.self);
    report.cross_kv_heads = CountsOf(chosen_.target.groupings.cross);
    report.kv_dtype = options_.kv_dtype;
    const uint64_t of_one = BytesOfOneHead(config_, kv_dtype, chosen_.target.variant);
    const uint64_t of_a_layers_head = of_one / config_.decoder.layers;
    report.new_token_bytes = SumOf(report.self_kv_heads) * of_a_layers_head;
    report.source_token_bytes = SumOf(report.cross_kv_heads) * of_a_layers_head;
    report.mha_token_bytes =
        BytesOfOneHead(config_, kv_dtype, AttentionVariant::kMha) * config_.decoder.num_heads;
    report.curve = chosen_.curve;
    report.not_copied = NotCopied();
    return report;
  }

  const ConvertOptions& options_;
  ConvertWork work_;
  JsonFile config_file_;
  ModelConfig config_;
  std::unique_ptr<Checkpoint> checkpoint_;
  ChosenTarget chosen_;
  std::vector<PlannedFile> plan_;
};

}  // namespace

StatusOr<ConvertReport> Convert(const ConvertOptions& options) { return Conversion(options).Run(); }

}  // namespace precis
