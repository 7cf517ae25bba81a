#include "engine/model/checkpoint/torch/pickle_objects.h"

#include "common/check.h"
#include "engine/model/checkpoint/file/shown.h"
#include "engine/model/checkpoint/torch/torch_globals.h"
#include "fmt/format.h"

namespace precis {

std::string_view KindName(PickleValue::Kind kind) {
  switch (kind) {
    case PickleValue::Kind::kNone:
      return "None";
    case PickleValue::Kind::kBool:
      return "a truth value";
    case PickleValue::Kind::kInt:
    case PickleValue::Kind::kLong:
    case PickleValue::Kind::kFloat:
      return "a number";
    case PickleValue::Kind::kText:
      return "a text";
    case PickleValue::Kind::kGlobal:
      return "a class or function";
    case PickleValue::Kind::kTuple:
      return "a tuple";
    case PickleValue::Kind::kList:
      return "a list";
    case PickleValue::Kind::kDict:
    case PickleValue::Kind::kOrderedDict:
      return "a dict";
    case PickleValue::Kind::kStorage:
      return "a storage";
    case PickleValue::Kind::kTensor:
      return "a tensor";
  }
  return "";
}

PickleValue PickleObjects::Made(Kind kind, size_t place, uint64_t count) {
  made_ += count;
  return {kind, static_cast<int64_t>(place)};
}

PickleValue PickleObjects::NewText(Kind kind, std::string text) {
  texts_.push_back(std::move(text));
  return Made(kind, texts_.size() - 1, 1);
}

PickleValue PickleObjects::NewSequence(Kind kind, std::vector<PickleValue> items) {
  sequences_.push_back(std::move(items));
  return Made(kind, sequences_.size() - 1, 1 + sequences_.back().size());
}

PickleValue PickleObjects::NewDict(Kind kind) {
  dicts_.emplace_back();
  return Made(kind, dicts_.size() - 1, 1);
}

PickleValue PickleObjects::NewTensor(TorchTensor tensor) {
  const uint64_t numbers = tensor.shape.size() + tensor.strides.size();
  tensors_.push_back(std::move(tensor));
  return Made(Kind::kTensor, tensors_.size() - 1, 4 + numbers);
}

PickleValue PickleObjects::NewView(StorageView view) {
  views_.push_back(view);
  return Made(Kind::kStorage, views_.size() - 1, 1);
}

void PickleObjects::Append(PickleValue list, PickleValue item) {
  PRECIS_CHECK(list.kind == Kind::kList);
  sequences_[static_cast<size_t>(list.number)].push_back(item);
  ++made_;
}

void PickleObjects::Set(PickleValue dict, PickleValue key, PickleValue value) {
  PRECIS_CHECK(dict.kind == Kind::kDict || dict.kind == Kind::kOrderedDict);
  dicts_[static_cast<size_t>(dict.number)].emplace_back(key, value);
  made_ += 2;
}

StatusOr<size_t> PickleObjects::StorageOf(const TorchStorage& storage) {
  const auto [found, is_new] = storage_of_key_.try_emplace(storage.key, storages_.size());
  if (is_new) {
    storages_.push_back(storage);
    made_ += 4;
    return found->second;
  }
  const TorchStorage& before = storages_[found->second];
  if (before.global == storage.global && before.count == storage.count) return found->second;
  const auto globals = TorchGlobals();
  return InvalidArgument(fmt::format(
      "storage {}: {} elements of {} here, {} of {} before", Shown(storage.key), storage.count,
      globals[storage.global].name, before.count, globals[before.global].name));
}

std::optional<size_t> PickleObjects::FindStorage(std::string_view key) const {
  const auto found = storage_of_key_.find(key);
  if (found == storage_of_key_.end()) return std::nullopt;
  return found->second;
}

std::string_view PickleObjects::Text(PickleValue value) const {
  if (value.kind != Kind::kText && value.kind != Kind::kLong) return {};
  return texts_[static_cast<size_t>(value.number)];
}

const std::vector<PickleValue>& PickleObjects::Items(PickleValue sequence) const {
  PRECIS_CHECK(sequence.kind == Kind::kTuple || sequence.kind == Kind::kList);
  return sequences_[static_cast<size_t>(sequence.number)];
}

const std::vector<PickleObjects::Pair>& PickleObjects::Pairs(PickleValue dict) const {
  PRECIS_CHECK(dict.kind == Kind::kDict || dict.kind == Kind::kOrderedDict);
  return dicts_[static_cast<size_t>(dict.number)];
}

const TorchTensor& PickleObjects::Tensor(PickleValue tensor) const {
  PRECIS_CHECK(tensor.kind == Kind::kTensor);
  return tensors_[static_cast<size_t>(tensor.number)];
}

}  // namespace precis
