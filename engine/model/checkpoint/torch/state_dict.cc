#include "engine/model/checkpoint/torch/state_dict.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "engine/model/checkpoint/file/shown.h"
#include "engine/model/checkpoint/file/strided.h"
#include "engine/model/checkpoint/torch/torch_globals.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace precis {
namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kWanted =
    "only a state dict is read: torch.save(model.state_dict(), \"pytorch_model.bin\")";

std::string Listed(const std::vector<int64_t>& numbers) {
  return fmt::format("[{}]", fmt::join(numbers, ", "));
}

bool AnyNegative(const std::vector<int64_t>& numbers) {
  return std::ranges::any_of(numbers, [](int64_t number) { return number < 0; });
}

// Shape, strides and offset against the elements that the storage is said to have.
Status CheckGeometry(const TorchTensor& tensor, uint64_t storage_count, uint64_t element_bytes) {
  if (tensor.shape.size() != tensor.strides.size() || tensor.offset < 0 ||
      AnyNegative(tensor.shape) || AnyNegative(tensor.strides)) {
    return InvalidArgument(fmt::format("shape {} with strides {} from element {} is no tensor",
                                       Listed(tensor.shape), Listed(tensor.strides),
                                       tensor.offset));
  }
  const auto count = NumElements(tensor.shape);
  const auto spanned = SpannedElements(tensor.shape, tensor.strides);
  uint64_t bytes = 0;
  uint64_t reach = 0;
  if (!count || !spanned || __builtin_mul_overflow(*count, element_bytes, &bytes) ||
      __builtin_add_overflow(*spanned, static_cast<uint64_t>(tensor.offset), &reach)) {
    return InvalidArgument(fmt::format("shape {} with strides {} has more bytes than 64 bits count",
                                       Listed(tensor.shape), Listed(tensor.strides)));
  }
  if (*count == 0) return OkStatus();
  if (reach > storage_count) {
    return InvalidArgument(fmt::format(
        "shape {} with strides {} from element {} needs {} elements, its storage has {}",
        Listed(tensor.shape), Listed(tensor.strides), tensor.offset, reach, storage_count));
  }
  if (*count <= storage_count) return OkStatus();
  return Unimplemented(
      fmt::format("shape {} with strides {} repeats the {} elements of its storage",
                  Listed(tensor.shape), Listed(tensor.strides), storage_count));
}

StatusOr<TensorEntry> EntryOf(const PickleObjects& objects, const TorchTensor& tensor,
                              std::span<const std::optional<StoragePlace>> places) {
  const StorageView& view = objects.View(tensor.view);
  const TorchStorage& storage = objects.storages()[view.storage];
  const TorchGlobal& type = TorchGlobals()[storage.global];
  PRECIS_RETURN_IF_ERROR(CheckGeometry(tensor, view.count, type.element_bytes));
  const std::optional<StoragePlace>& place = places[view.storage];
  if (!place) {
    return DataLoss(
        fmt::format("its storage {} is not in the file: truncated?", Shown(storage.key)));
  }
  if (place->bytes < storage.count * type.element_bytes) {
    return DataLoss(
        fmt::format("its storage {} has {} bytes in the file, {} are needed: truncated?",
                    Shown(storage.key), place->bytes, storage.count * type.element_bytes));
  }
  TensorEntry entry;
  entry.dtype_name = type.dtype_name;
  entry.dtype = type.dtype;
  entry.shape = tensor.shape;
  entry.begin = entry.end = place->begin;
  const uint64_t count = *NumElements(tensor.shape);
  if (count == 0) return entry;
  entry.begin += (view.first + static_cast<uint64_t>(tensor.offset)) * type.element_bytes;
  entry.end = entry.begin + count * type.element_bytes;
  if (!IsRowMajor(tensor.shape, tensor.strides)) entry.strides = tensor.strides;
  return entry;
}

// A training checkpoint has the state dict inside, beside an optimizer's.
Status NotATensor(std::string_view name, Kind kind) {
  const bool nested = kind == Kind::kDict || kind == Kind::kOrderedDict;
  return Unimplemented(fmt::format("{}: is {}, not a tensor{}; {}", Shown(name), KindName(kind),
                                   nested ? " (a training checkpoint?)" : "", kWanted));
}

}  // namespace

StatusOr<std::vector<TensorEntry>> TensorsOf(const PickleObjects& objects, PickleValue state_dict,
                                             std::span<const std::optional<StoragePlace>> places) {
  if (state_dict.kind != Kind::kDict && state_dict.kind != Kind::kOrderedDict) {
    return Unimplemented(fmt::format("holds {}; {}", KindName(state_dict.kind), kWanted));
  }
  std::vector<TensorEntry> entries;
  std::set<std::string_view> seen;
  for (const auto& [key, value] : objects.Pairs(state_dict)) {
    if (key.kind != Kind::kText) {
      return InvalidArgument(
          fmt::format("the name of a tensor is {}; {}", KindName(key.kind), kWanted));
    }
    const std::string_view name = objects.Text(key);
    if (value.kind != Kind::kTensor) return NotATensor(name, value.kind);
    if (!seen.insert(name).second) {
      return InvalidArgument(fmt::format("{}: is in the file twice", Shown(name)));
    }
    auto entry = EntryOf(objects, objects.Tensor(value), places);
    if (!entry.ok()) return Annotate(entry.status(), Shown(name));
    entry->name = name;
    entries.push_back(std::move(entry).value());
  }
  return entries;
}

}  // namespace precis
