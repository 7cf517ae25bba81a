// What a pickle has made so far: values, which are small and copied, and the objects that they
// point to by number. Nothing points back, and nothing is walked in depth, so no nesting is too
// deep.
//
// Owner: who reads the pickle. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/status.h"

namespace precis {

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kLong,  // more than 64 bits: little-endian bytes, a text
    kFloat,
    kText,
    kGlobal,
    kTuple,
    kList,
    kDict,
    kOrderedDict,
    kStorage,
    kTensor,
  };
  Kind kind = Kind::kNone;
  // kBool, kInt: the value. kGlobal: the place in TorchGlobals(). Else the place in PickleObjects.
  int64_t number = 0;
};

std::string_view KindName(PickleValue::Kind kind);  // "a list"

struct TorchStorage {
  std::string key;     // names its data in the file
  size_t global = 0;   // its class, in TorchGlobals()
  uint64_t count = 0;  // elements
};

// A storage, or a part of one: the legacy format has those.
struct StorageView {
  size_t storage = 0;
  uint64_t first = 0;
  uint64_t count = 0;
};

// As the pickle says it: nothing is checked yet but that these are numbers.
struct TorchTensor {
  size_t view = 0;
  int64_t offset = 0;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

class PickleObjects {
 public:
  using Kind = PickleValue::Kind;
  using Pair = std::pair<PickleValue, PickleValue>;

  PickleValue NewText(Kind kind, std::string text);
  PickleValue NewSequence(Kind kind, std::vector<PickleValue> items);
  PickleValue NewDict(Kind kind);
  PickleValue NewTensor(TorchTensor tensor);
  void Append(PickleValue list, PickleValue item);
  void Set(PickleValue dict, PickleValue key, PickleValue value);
  // Of this key, once; another class or count than before is an error.
  StatusOr<size_t> StorageOf(const TorchStorage& storage);
  PickleValue NewView(StorageView view);

  // A text's bytes, or empty of another kind.
  std::string_view Text(PickleValue value) const;
  const std::vector<PickleValue>& Items(PickleValue sequence) const;
  const std::vector<Pair>& Pairs(PickleValue dict) const;
  const TorchTensor& Tensor(PickleValue tensor) const;
  const StorageView& View(size_t view) const { return views_[view]; }
  const std::vector<TorchStorage>& storages() const { return storages_; }
  std::optional<size_t> FindStorage(std::string_view key) const;
  // Objects and what they hold: what bounds the memory.
  uint64_t made() const { return made_; }

 private:
  PickleValue Made(Kind kind, size_t place, uint64_t count);

  uint64_t made_ = 0;
  std::vector<std::string> texts_;
  std::vector<std::vector<PickleValue>> sequences_;
  std::vector<std::vector<Pair>> dicts_;
  std::vector<StorageView> views_;
  std::vector<TorchTensor> tensors_;
  std::vector<TorchStorage> storages_;
  std::map<std::string, size_t, std::less<>> storage_of_key_;
};

}  // namespace precis
