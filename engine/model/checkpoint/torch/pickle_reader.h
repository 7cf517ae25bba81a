// Reads one pickle of torch.save: a stack machine that knows the opcodes and names that tensors
// need and refuses every other one by name. It computes nothing and runs nothing.
//
// Owner: who reads a file of torch. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/status.h"
#include "engine/model/checkpoint/torch/pickle_bytes.h"
#include "engine/model/checkpoint/torch/pickle_objects.h"
#include "engine/model/checkpoint/torch/pickle_opcodes.h"
#include "engine/model/checkpoint/torch/torch_calls.h"

namespace precis {

class PickleReader {
 public:
  PickleReader(PickleBytes& in, PickleObjects& objects)
      : in_(in), objects_(objects), calls_(objects) {}

  // Up to STOP: what the pickle holds. The error names the opcode and its byte in the file.
  StatusOr<PickleValue> Read();

 private:
  using Kind = PickleValue::Kind;

  Status Step(Opcode opcode);
  Status CheckLimits() const;
  Status PushNumber(Opcode opcode);
  Status PushText(Opcode opcode);
  Status PushLong();
  Status PushGlobal(Opcode opcode);
  Status PushTuple(Opcode opcode);
  Status Put(Opcode opcode);
  Status Get(Opcode opcode);
  Status Append(Opcode opcode);
  Status SetItems(Opcode opcode);
  Status Call(Opcode opcode);
  Status Header(Opcode opcode);

  void Push(PickleValue value) { stack_.push_back(value); }
  Status Push(Kind kind, int64_t number);
  // The topmost `count` values above the last mark.
  StatusOr<std::vector<PickleValue>> Pop(size_t count);
  StatusOr<std::vector<PickleValue>> PopToMark();
  StatusOr<PickleValue> Top() const;
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleBytes& in_;
  PickleObjects& objects_;
  TorchCalls calls_;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::unordered_map<uint64_t, PickleValue> memo_;
};

}  // namespace precis
