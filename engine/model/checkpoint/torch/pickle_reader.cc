#include "engine/model/checkpoint/torch/pickle_reader.h"

#include <algorithm>
#include <string>

#include "engine/model/checkpoint/file/shown.h"
#include "engine/model/checkpoint/torch/torch_globals.h"
#include "fmt/format.h"

namespace precis {
namespace {

// A tensor takes about 30 objects and 9 entries of the memo; pickle.py pushes 1,000 items at most
// before it empties the stack.
constexpr uint64_t kMaxObjects = 4'000'000;
constexpr size_t kMaxMemo = 2'000'000;
constexpr size_t kMaxStack = 100'000;  // values and marks
constexpr uint64_t kNewestProtocol = 5;

constexpr std::string_view kNothingRun =
    "is not one that tensors need, and nothing of the file was run; if you trust the file, load it "
    "in transformers and save it with save_pretrained()";

// The bytes of a length or an index that follow the opcode.
size_t PrefixBytes(Opcode opcode) {
  switch (opcode) {
    case Opcode::kBinUnicode8:
    case Opcode::kFrame:
      return 8;
    case Opcode::kBinUnicode:
    case Opcode::kBinString:
    case Opcode::kBinInt:
    case Opcode::kLongBinPut:
    case Opcode::kLongBinGet:
      return 4;
    case Opcode::kBinInt2:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

StatusOr<PickleValue> PickleReader::Read() {
  for (;;) {
    const uint64_t at = in_.position();
    PRECIS_ASSIGN_OR_RETURN(const uint64_t byte, in_.TakeNumber(1));
    const auto opcode = static_cast<Opcode>(byte);
    Status status;
    if (opcode == Opcode::kStop) {
      auto values = Pop(1);
      if (values.ok()) return values->front();
      status = values.status();
    } else {
      status = Step(opcode);
      if (status.ok()) status = CheckLimits();
    }
    if (!status.ok()) {
      const std::string name = OpcodeName(static_cast<uint8_t>(byte));
      return Annotate(status, fmt::format("opcode {} at byte {}", name, at));
    }
  }
}

Status PickleReader::CheckLimits() const {
  if (stack_.size() + marks_.size() > kMaxStack) {
    return InvalidArgument(fmt::format("more than {} values and marks on the stack", kMaxStack));
  }
  if (memo_.size() > kMaxMemo) {
    return InvalidArgument(fmt::format("more than {} entries in the memo", kMaxMemo));
  }
  if (objects_.made() > kMaxObjects) {
    return InvalidArgument(fmt::format("more than {} objects", kMaxObjects));
  }
  return OkStatus();
}

Status PickleReader::Step(Opcode opcode) {
  switch (opcode) {
    case Opcode::kMark:
      marks_.push_back(stack_.size());
      return OkStatus();
    case Opcode::kNone:
      return Push(Kind::kNone, 0);
    case Opcode::kNewTrue:
      return Push(Kind::kBool, 1);
    case Opcode::kNewFalse:
      return Push(Kind::kBool, 0);
    case Opcode::kBinInt:
    case Opcode::kBinInt1:
    case Opcode::kBinInt2:
      return PushNumber(opcode);
    case Opcode::kBinFloat:
      PRECIS_RETURN_IF_ERROR(in_.Take(8).status());
      return Push(Kind::kFloat, 0);
    case Opcode::kLong1:
      return PushLong();
    case Opcode::kBinString:
    case Opcode::kShortBinString:
    case Opcode::kBinUnicode:
    case Opcode::kShortBinUnicode:
    case Opcode::kBinUnicode8:
      return PushText(opcode);
    case Opcode::kGlobal:
    case Opcode::kStackGlobal:
      return PushGlobal(opcode);
    case Opcode::kEmptyDict:
      Push(objects_.NewDict(Kind::kDict));
      return OkStatus();
    case Opcode::kEmptyList:
      Push(objects_.NewSequence(Kind::kList, {}));
      return OkStatus();
    case Opcode::kEmptyTuple:
    case Opcode::kTuple1:
    case Opcode::kTuple2:
    case Opcode::kTuple3:
    case Opcode::kTuple:
      return PushTuple(opcode);
    case Opcode::kBinPut:
    case Opcode::kLongBinPut:
    case Opcode::kMemoize:
      return Put(opcode);
    case Opcode::kBinGet:
    case Opcode::kLongBinGet:
      return Get(opcode);
    case Opcode::kAppend:
    case Opcode::kAppends:
      return Append(opcode);
    case Opcode::kSetItem:
    case Opcode::kSetItems:
      return SetItems(opcode);
    case Opcode::kReduce:
    case Opcode::kBuild:
    case Opcode::kBinPersId:
      return Call(opcode);
    case Opcode::kProto:
    case Opcode::kFrame:
      return Header(opcode);
    case Opcode::kStop:
      break;
  }
  return InvalidArgument(kNothingRun);
}

Status PickleReader::Push(Kind kind, int64_t number) {
  Push(PickleValue{kind, number});
  return OkStatus();
}

StatusOr<std::vector<PickleValue>> PickleReader::Pop(size_t count) {
  if (stack_.size() - Floor() < count) return InvalidArgument("the stack holds too few values");
  const std::vector<PickleValue> values(stack_.end() - static_cast<std::ptrdiff_t>(count),
                                        stack_.end());
  stack_.resize(stack_.size() - count);
  return values;
}

StatusOr<std::vector<PickleValue>> PickleReader::PopToMark() {
  if (marks_.empty()) return InvalidArgument("there is no mark");
  auto values = Pop(stack_.size() - Floor());
  marks_.pop_back();
  return values;
}

StatusOr<PickleValue> PickleReader::Top() const {
  if (stack_.size() == Floor()) return InvalidArgument("the stack is empty");
  return stack_.back();
}

Status PickleReader::PushNumber(Opcode opcode) {
  PRECIS_ASSIGN_OR_RETURN(const uint64_t number, in_.TakeNumber(PrefixBytes(opcode)));
  if (opcode == Opcode::kBinInt) return Push(Kind::kInt, static_cast<int32_t>(number));
  return Push(Kind::kInt, static_cast<int64_t>(number));
}

// Two's complement in as few bytes as hold it.
Status PickleReader::PushLong() {
  PRECIS_ASSIGN_OR_RETURN(const uint64_t count, in_.TakeNumber(1));
  if (count > 8) {
    PRECIS_ASSIGN_OR_RETURN(const std::string_view bytes, in_.Take(count));
    Push(objects_.NewText(Kind::kLong, std::string(bytes)));
    return OkStatus();
  }
  if (count == 0) return Push(Kind::kInt, 0);
  PRECIS_ASSIGN_OR_RETURN(const uint64_t number, in_.TakeNumber(count));
  const auto unused = static_cast<int>(8 * (8 - count));
  return Push(Kind::kInt, static_cast<int64_t>(number << unused) >> unused);
}

Status PickleReader::PushText(Opcode opcode) {
  PRECIS_ASSIGN_OR_RETURN(const uint64_t count, in_.TakeNumber(PrefixBytes(opcode)));
  PRECIS_ASSIGN_OR_RETURN(const std::string_view text, in_.Take(count));
  Push(objects_.NewText(Kind::kText, std::string(text)));
  return OkStatus();
}

Status PickleReader::PushGlobal(Opcode opcode) {
  std::string module, name;
  if (opcode == Opcode::kGlobal) {
    PRECIS_ASSIGN_OR_RETURN(module, in_.TakeLine());
    PRECIS_ASSIGN_OR_RETURN(name, in_.TakeLine());
  } else {
    PRECIS_ASSIGN_OR_RETURN(const auto values, Pop(2));
    if (values[0].kind != Kind::kText || values[1].kind != Kind::kText) {
      return InvalidArgument("a global whose module and name are no texts");
    }
    module = objects_.Text(values[0]);
    name = objects_.Text(values[1]);
  }
  const auto globals = TorchGlobals();
  const auto found = std::ranges::find_if(globals, [&](const TorchGlobal& global) {
    return global.module == module && global.name == name;
  });
  if (found == globals.end()) {
    return InvalidArgument(fmt::format("{} {}", Shown(module + "." + name), kNothingRun));
  }
  return Push(Kind::kGlobal, found - globals.begin());
}

Status PickleReader::PushTuple(Opcode opcode) {
  std::vector<PickleValue> items;
  if (opcode == Opcode::kTuple) {
    PRECIS_ASSIGN_OR_RETURN(items, PopToMark());
  } else if (opcode != Opcode::kEmptyTuple) {
    const auto count = 1 + static_cast<size_t>(opcode) - static_cast<size_t>(Opcode::kTuple1);
    PRECIS_ASSIGN_OR_RETURN(items, Pop(count));
  }
  Push(objects_.NewSequence(Kind::kTuple, std::move(items)));
  return OkStatus();
}

Status PickleReader::Put(Opcode opcode) {
  uint64_t index = memo_.size();
  if (opcode != Opcode::kMemoize) {
    PRECIS_ASSIGN_OR_RETURN(index, in_.TakeNumber(PrefixBytes(opcode)));
  }
  PRECIS_ASSIGN_OR_RETURN(memo_[index], Top());
  return OkStatus();
}

Status PickleReader::Get(Opcode opcode) {
  PRECIS_ASSIGN_OR_RETURN(const uint64_t index, in_.TakeNumber(PrefixBytes(opcode)));
  const auto found = memo_.find(index);
  if (found == memo_.end()) return InvalidArgument(fmt::format("the memo has no entry {}", index));
  Push(found->second);
  return OkStatus();
}

Status PickleReader::Append(Opcode opcode) {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<PickleValue> items,
                          opcode == Opcode::kAppend ? Pop(1) : PopToMark());
  PRECIS_ASSIGN_OR_RETURN(const PickleValue list, Top());
  if (list.kind != Kind::kList) {
    return InvalidArgument(fmt::format("appends to {}", KindName(list.kind)));
  }
  for (const PickleValue item : items) objects_.Append(list, item);
  return OkStatus();
}

Status PickleReader::SetItems(Opcode opcode) {
  PRECIS_ASSIGN_OR_RETURN(const std::vector<PickleValue> items,
                          opcode == Opcode::kSetItem ? Pop(2) : PopToMark());
  PRECIS_ASSIGN_OR_RETURN(const PickleValue dict, Top());
  if (dict.kind != Kind::kDict && dict.kind != Kind::kOrderedDict) {
    return InvalidArgument(fmt::format("sets an item of {}", KindName(dict.kind)));
  }
  if (items.size() % 2 != 0) return InvalidArgument("a key without a value");
  for (size_t i = 0; i < items.size(); i += 2) objects_.Set(dict, items[i], items[i + 1]);
  return OkStatus();
}

Status PickleReader::Call(Opcode opcode) {
  if (opcode == Opcode::kBinPersId) {
    PRECIS_ASSIGN_OR_RETURN(const auto id, Pop(1));
    PRECIS_ASSIGN_OR_RETURN(const PickleValue storage, calls_.Storage(id[0]));
    Push(storage);
    return OkStatus();
  }
  PRECIS_ASSIGN_OR_RETURN(const auto values, Pop(2));
  if (opcode == Opcode::kBuild) {
    Push(values[0]);
    return TorchCalls::Build(values[0], values[1]);
  }
  PRECIS_ASSIGN_OR_RETURN(const PickleValue made, calls_.Call(values[0], values[1]));
  Push(made);
  return OkStatus();
}

Status PickleReader::Header(Opcode opcode) {
  PRECIS_ASSIGN_OR_RETURN(const uint64_t number, in_.TakeNumber(PrefixBytes(opcode)));
  if (opcode == Opcode::kFrame || number <= kNewestProtocol) return OkStatus();
  return Unimplemented(fmt::format("protocol {} is newer than {}", number, kNewestProtocol));
}

}  // namespace precis
