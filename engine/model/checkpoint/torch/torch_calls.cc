#include "engine/model/checkpoint/torch/torch_calls.h"

#include <limits>
#include <string>
#include <utility>

#include "engine/model/checkpoint/file/shown.h"
#include "engine/model/checkpoint/torch/torch_globals.h"
#include "fmt/format.h"

namespace precis {
namespace {

constexpr size_t kMaxRank = 16;

bool IsDict(PickleValue value) {
  return value.kind == PickleValue::Kind::kDict || value.kind == PickleValue::Kind::kOrderedDict;
}

std::string NameOf(PickleValue global) {
  const TorchGlobal& of = TorchGlobals()[static_cast<size_t>(global.number)];
  return fmt::format("{}.{}", of.module, of.name);
}

}  // namespace

StatusOr<PickleValue> TorchCalls::Call(PickleValue callable, PickleValue arguments) {
  if (callable.kind != Kind::kGlobal) {
    return InvalidArgument(fmt::format("calls {}", KindName(callable.kind)));
  }
  if (arguments.kind != Kind::kTuple) {
    return InvalidArgument(
        fmt::format("{}: arguments are {}", NameOf(callable), KindName(arguments.kind)));
  }
  const std::vector<PickleValue>& items = objects_.Items(arguments);
  switch (TorchGlobals()[static_cast<size_t>(callable.number)].role) {
    case GlobalRole::kOrderedDict:
      if (items.empty()) return objects_.NewDict(Kind::kOrderedDict);
      break;
    case GlobalRole::kRebuildTensor:
      if (items.size() == 4) return Rebuild(items, false);
      break;
    case GlobalRole::kRebuildTensorV2:
      if (items.size() == 6 || items.size() == 7) return Rebuild(items, true);
      break;
    case GlobalRole::kRebuildParameter:
      if (items.size() == 3 && items[0].kind == Kind::kTensor) return items[0];
      break;
    case GlobalRole::kStorage:
      return InvalidArgument(fmt::format("calls {}, which only names a type", NameOf(callable)));
  }
  return InvalidArgument(
      fmt::format("{}: {} arguments that do not fit it", NameOf(callable), items.size()));
}

StatusOr<PickleValue> TorchCalls::Rebuild(const std::vector<PickleValue>& arguments, bool is_v2) {
  if (arguments[0].kind != Kind::kStorage || arguments[1].kind != Kind::kInt) {
    return InvalidArgument("a tensor's storage and offset are no storage and number");
  }
  TorchTensor tensor;
  tensor.view = static_cast<size_t>(arguments[0].number);
  tensor.offset = arguments[1].number;
  PRECIS_ASSIGN_OR_RETURN(tensor.shape, Numbers(arguments[2], "shape"));
  PRECIS_ASSIGN_OR_RETURN(tensor.strides, Numbers(arguments[3], "strides"));
  // A view that is negated or conjugated says so here.
  if (is_v2 && arguments.size() == 7 && arguments[6].kind != Kind::kNone &&
      !(IsDict(arguments[6]) && objects_.Pairs(arguments[6]).empty())) {
    return Unimplemented("a tensor with metadata (a negated view?)");
  }
  return objects_.NewTensor(std::move(tensor));
}

StatusOr<std::vector<int64_t>> TorchCalls::Numbers(PickleValue tuple, std::string_view what) const {
  if (tuple.kind != Kind::kTuple || objects_.Items(tuple).size() > kMaxRank) {
    return InvalidArgument(
        fmt::format("a tensor's {} is no tuple of at most {} numbers", what, kMaxRank));
  }
  std::vector<int64_t> numbers;
  for (const PickleValue item : objects_.Items(tuple)) {
    if (item.kind != Kind::kInt) {
      return InvalidArgument(fmt::format("a tensor's {} has {}", what, KindName(item.kind)));
    }
    numbers.push_back(item.number);
  }
  return numbers;
}

StatusOr<PickleValue> TorchCalls::Storage(PickleValue id) {
  const std::vector<PickleValue> items =
      id.kind == Kind::kTuple ? objects_.Items(id) : std::vector<PickleValue>();
  const std::string_view what = items.empty() ? "" : objects_.Text(items[0]);
  if (what == "module") return Unimplemented("a whole module was saved, not its state_dict()");
  if (what != "storage" || items.size() < 5 || items.size() > 6) {
    return InvalidArgument("a persistent id that is not a storage's");
  }
  const auto globals = TorchGlobals();
  if (items[1].kind != Kind::kGlobal ||
      globals[static_cast<size_t>(items[1].number)].role != GlobalRole::kStorage ||
      items[2].kind != Kind::kText || items[4].kind != Kind::kInt) {
    return InvalidArgument("a storage without its class, key and number of elements");
  }
  TorchStorage storage{std::string(objects_.Text(items[2])), static_cast<size_t>(items[1].number),
                       static_cast<uint64_t>(items[4].number)};
  const uint64_t most = std::numeric_limits<int64_t>::max() / globals[storage.global].element_bytes;
  if (items[4].number < 0 || storage.count > most) {
    return InvalidArgument(
        fmt::format("storage {}: {} elements", Shown(storage.key), items[4].number));
  }
  StorageView view{0, 0, storage.count};
  if (items.size() == 6 && items[5].kind != Kind::kNone) {
    const std::vector<PickleValue> part =
        items[5].kind == Kind::kTuple ? objects_.Items(items[5]) : std::vector<PickleValue>();
    if (part.size() != 3 || part[1].kind != Kind::kInt || part[2].kind != Kind::kInt) {
      return InvalidArgument(fmt::format("storage {}: a part that is none", Shown(storage.key)));
    }
    view.first = static_cast<uint64_t>(part[1].number);
    view.count = static_cast<uint64_t>(part[2].number);
    if (view.first > storage.count || view.count > storage.count - view.first) {
      return InvalidArgument(fmt::format("storage {}: {} elements from {} of {}",
                                         Shown(storage.key), part[2].number, part[1].number,
                                         storage.count));
    }
  }
  PRECIS_ASSIGN_OR_RETURN(view.storage, objects_.StorageOf(storage));
  return objects_.NewView(view);
}

Status TorchCalls::Build(PickleValue object, PickleValue state) {
  if (object.kind == Kind::kOrderedDict && IsDict(state)) return OkStatus();
  return InvalidArgument(fmt::format("sets the state of {}; only an OrderedDict's is expected",
                                     KindName(object.kind)));
}

}  // namespace precis
