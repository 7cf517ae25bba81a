// What the names of TorchGlobals() would do in Python, and torch's persistent ids: each makes an
// object of numbers. Called by PickleReader. Thread rule: one thread.
#pragma once

#include "common/status.h"
#include "engine/model/checkpoint/torch/pickle_objects.h"

namespace precis {

class TorchCalls {
 public:
  explicit TorchCalls(PickleObjects& objects) : objects_(objects) {}

  // REDUCE: `callable(*arguments)`.
  StatusOr<PickleValue> Call(PickleValue callable, PickleValue arguments);
  // BINPERSID: ("storage", class, key, location, count), and in the legacy format a sixth: None, or
  // (key of the part, first element, count).
  StatusOr<PickleValue> Storage(PickleValue id);
  // BUILD: only an OrderedDict's attributes, which no tensor needs.
  static Status Build(PickleValue object, PickleValue state);

 private:
  using Kind = PickleValue::Kind;

  StatusOr<PickleValue> Rebuild(const std::vector<PickleValue>& arguments, bool is_v2);
  StatusOr<std::vector<int64_t>> Numbers(PickleValue tuple, std::string_view what) const;

  PickleObjects& objects_;
};

}  // namespace precis
