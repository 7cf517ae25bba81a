#include "tools/convert/convert_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <random>
#include <utility>

#include "engine/model/grouping/head_folding.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using nlohmann::json;

constexpr size_t kHeaderAlignment = 8;

int64_t WeightsPerHead(AttentionVariant variant, const ModelConfig& config) {
  if (variant == AttentionVariant::kWgqa) return 1;
  if (variant == AttentionVariant::kColWgqa) return config.decoder.head_dim;
  if (variant == AttentionVariant::kRowWgqa) return config.d_model;
  return 0;
}

uint64_t SizeOf(const std::vector<int64_t>& shape) {
  uint64_t size = 1;
  for (const int64_t n : shape) size *= static_cast<uint64_t>(n);
  return size;
}

PlannedTensor Made(std::string name, std::vector<int64_t> shape,
                   std::function<StatusOr<std::vector<float>>()> make) {
  const uint64_t num_bytes = SizeOf(shape) * sizeof(float);
  return {std::move(name), "F32", std::move(shape), num_bytes, std::move(make)};
}

// Normal by Box and Muller, of a generator whose numbers the standard fixes: the same everywhere.
std::vector<float> StandardNormal(uint64_t count, const std::array<uint64_t, 4>& key) {
  std::seed_seq seeds{static_cast<uint32_t>(key[0]), static_cast<uint32_t>(key[0] >> 32),
                      static_cast<uint32_t>(key[1]), static_cast<uint32_t>(key[2]),
                      static_cast<uint32_t>(key[3])};
  std::mt19937_64 random(seeds);
  const auto uniform = [&random] {  // (0, 1]
    return (static_cast<double>(random() >> 11) + 1) * 0x1p-53;
  };
  std::vector<float> values(count);
  for (float& value : values) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    value = static_cast<float>(radius * std::cos(2 * std::numbers::pi * uniform()));
  }
  return values;
}

// Of a file of the source: pytorch_model-00001-of-00002.bin becomes
// model-00001-of-00002.safetensors.
std::string SafetensorsName(std::string_view file) {
  constexpr std::string_view kSuffix = ".bin", kPrefix = "pytorch_model";
  if (!file.ends_with(kSuffix)) return std::string(file);
  file.remove_suffix(kSuffix.size());
  std::string name(file);
  if (file.starts_with(kPrefix)) name.replace(0, kPrefix.size(), "model");
  return name + ".safetensors";
}

class Planner {
 public:
  Planner(Checkpoint& checkpoint, const ModelConfig& config, const ResolvedAttention& fold,
          const ConvertTarget& target)
      : checkpoint_(checkpoint), config_(config), fold_(fold), target_(target) {}

  StatusOr<std::vector<PlannedFile>> Plan() {
    PRECIS_RETURN_IF_ERROR(CheckShapes());
    for (const std::string& name : checkpoint_.names()) {
      PRECIS_ASSIGN_OR_RETURN(const TensorEntry* entry, checkpoint_.Stored(name));
      PlannedTensor copied{name, entry->dtype_name, entry->shape, entry->num_bytes(), {}};
      PRECIS_RETURN_IF_ERROR(Add(name, std::move(copied)));
    }
    for (uint32_t layer = 0; layer < config_.decoder.layers; ++layer) {
      for (const bool cross : {false, true}) {
        if (HasCachedNorm(target_.variant)) PRECIS_RETURN_IF_ERROR(PlanCachedNorm(layer, cross));
        for (const char which : {'k', 'v'}) {
          PRECIS_RETURN_IF_ERROR(PlanProjection(layer, cross, which));
        }
      }
    }
    std::vector<PlannedFile> files;
    for (auto& [name, tensors] : files_) files.push_back(FileOf(name, std::move(tensors)));
    return files;
  }

 private:
  using Tensors = std::map<std::string, PlannedTensor>;

  // What only the loader would find out otherwise, after hours of copying.
  Status CheckShapes() {
    const int64_t inner = int64_t{config_.decoder.num_heads} * config_.decoder.head_dim;
    for (uint32_t layer = 0; layer < config_.decoder.layers; ++layer) {
      for (const bool cross : {false, true}) {
        const std::string prefix = config_.names.DecoderAttention(layer, cross);
        PRECIS_RETURN_IF_ERROR(
            CheckShape(config_.names.Projection(prefix, 'q'), {inner, config_.d_model}));
        PRECIS_RETURN_IF_ERROR(
            CheckShape(config_.names.Projection(prefix, 'o'), {config_.d_model, inner}));
        if (target_.projections != Projections::kCopied) continue;
        PRECIS_RETURN_IF_ERROR(
            CheckShape(config_.names.Projection(prefix, 'k'), {inner, config_.d_model}));
        PRECIS_RETURN_IF_ERROR(
            CheckShape(config_.names.Projection(prefix, 'v'), {inner, config_.d_model}));
      }
    }
    return OkStatus();
  }

  Status CheckShape(const std::string& name, const std::vector<int64_t>& expected) {
    PRECIS_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, checkpoint_.Shape(name));
    if (shape == expected) return OkStatus();
    return InvalidArgument(fmt::format("{}: shape {} in the file, {} expected",
                                       checkpoint_.Describe(name), ShapeText(shape),
                                       ShapeText(expected)));
  }

  // Into the file of `beside`; replaces one of the same name.
  Status Add(const std::string& beside, PlannedTensor tensor) {
    PRECIS_ASSIGN_OR_RETURN(const std::string file, checkpoint_.FileOf(beside));
    const std::string name = tensor.name;
    files_[SafetensorsName(file)].insert_or_assign(name, std::move(tensor));
    return OkStatus();
  }

  // Of zeros: a head's share begins as that of its norm.
  Status PlanCachedNorm(uint32_t layer, bool cross) {
    const std::string prefix = config_.names.DecoderAttention(layer, cross);
    const std::vector<int64_t> shape = {target_.num_kv_heads};
    const auto make = [shape]() -> StatusOr<std::vector<float>> {
      return std::vector<float>(SizeOf(shape), 0.0f);
    };
    return Add(config_.names.Projection(prefix, 'k'), Made(prefix + "cached_norm", shape, make));
  }

  Status PlanProjection(uint32_t layer, bool cross, char which) {
    const std::string prefix = config_.names.DecoderAttention(layer, cross);
    const std::string name = config_.names.Projection(prefix, which);
    const std::string weights_name = fmt::format("{}w{}1", prefix, which);
    if (const int64_t per_head = WeightsPerHead(target_.variant, config_); per_head > 0) {
      const std::vector<int64_t> shape = {config_.decoder.num_heads, per_head};
      const std::array<uint64_t, 4> key = {target_.random_weights.value_or(0), layer, cross,
                                           which == 'v'};
      const auto mean =
          static_cast<float>(double{1} * target_.num_kv_heads / config_.decoder.num_heads);
      const bool random = target_.random_weights.has_value();
      const auto make = [random, mean, shape, key]() -> StatusOr<std::vector<float>> {
        if (random) return StandardNormal(SizeOf(shape), key);
        return std::vector<float>(SizeOf(shape), mean);
      };
      PRECIS_RETURN_IF_ERROR(Add(name, Made(weights_name, shape, make)));
    }
    if (target_.projections == Projections::kCopied) return OkStatus();
    if (checkpoint_.Has(weights_name)) {
      PRECIS_ASSIGN_OR_RETURN(const std::string file, checkpoint_.FileOf(weights_name));
      files_[SafetensorsName(file)].erase(weights_name);
    }
    PRECIS_RETURN_IF_ERROR(Add(name, Folded(layer, cross, which, Part::kWeight)));
    if (!config_.biases) return OkStatus();
    return Add(BiasOf(name), Folded(layer, cross, which, Part::kBias));
  }

  enum class Part { kWeight, kBias };

  PlannedTensor Folded(uint32_t layer, bool cross, char which, Part part) {
    const LayerGroupings all = Groupings(config_, fold_);
    const HeadGrouping grouping = cross ? all.cross[layer] : all.self[layer];
    const bool repeated = target_.projections == Projections::kRepeated;
    const uint64_t heads = repeated ? config_.decoder.num_heads : grouping.groups.size();
    const std::string prefix = config_.names.DecoderAttention(layer, cross);
    const auto make = [&checkpoint = checkpoint_, &config = config_, fold = fold_, grouping,
                       repeated, which, part, prefix]() -> StatusOr<std::vector<float>> {
      PRECIS_ASSIGN_OR_RETURN(
          GroupedProjection read,
          ReadGroupedProjection(checkpoint, config, fold, grouping, prefix, which));
      std::vector<float>& folded = part == Part::kWeight ? read.weight : read.bias;
      return repeated ? Repeated(folded, grouping, config.decoder.num_heads) : std::move(folded);
    };
    const auto rows = static_cast<int64_t>(heads * config_.decoder.head_dim);
    const std::string name = config_.names.Projection(prefix, which);
    if (part == Part::kBias) return Made(BiasOf(name), {rows}, make);
    return Made(name, {rows, config_.d_model}, make);
  }

  // Each query head gets what its group has.
  static std::vector<float> Repeated(std::span<const float> folded, const HeadGrouping& grouping,
                                     uint32_t num_heads) {
    const size_t size = folded.size() / grouping.groups.size();
    std::vector<float> out(size * num_heads);
    for (size_t g = 0; g < grouping.groups.size(); ++g) {
      for (const uint32_t head : grouping.groups[g]) {
        std::memcpy(&out[head * size], &folded[g * size], size * sizeof(float));
      }
    }
    return out;
  }

  // Larger elements first, so that each tensor lies at a multiple of its element's bytes.
  static PlannedFile FileOf(const std::string& name, Tensors tensors) {
    PlannedFile file{name, {}};
    for (auto& [tensor_name, tensor] : tensors) file.tensors.push_back(std::move(tensor));
    const auto element_bytes = [](const PlannedTensor& t) {
      const uint64_t size = SizeOf(t.shape);
      return size == 0 ? 0 : t.num_bytes / size;
    };
    std::ranges::stable_sort(file.tensors, std::ranges::greater{}, element_bytes);
    return file;
  }

  Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const ResolvedAttention& fold_;
  const ConvertTarget& target_;
  std::map<std::string, Tensors> files_;
};

}  // namespace

std::string PlannedFile::Header() const {
  json header;
  header["__metadata__"]["format"] = "pt";  // transformers insists on it
  uint64_t offset = 0;
  for (const PlannedTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype_name},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.num_bytes}}};
    offset += tensor.num_bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + text;
}

StatusOr<std::vector<PlannedFile>> PlanTensors(Checkpoint& checkpoint, const ModelConfig& config,
                                               const ResolvedAttention& fold,
                                               const ConvertTarget& target) {
  return Planner(checkpoint, config, fold, target).Plan();
}

std::string IndexOf(const std::vector<PlannedFile>& files) {
  json index;
  uint64_t total = 0;
  for (const PlannedFile& file : files) {
    for (const PlannedTensor& tensor : file.tensors) {
      index["weight_map"][tensor.name] = file.name;
      total += tensor.num_bytes;
    }
  }
  index["metadata"]["total_size"] = total;
  return index.dump(2) + "\n";
}

}  // namespace precis
