// Claims device memory for many arrays in a row, such as all buffers of a model; whether there was
// enough is asked once, at the end.
//
// Owner: who loads a model. Thread rule: one thread.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "common/status.h"
#include "kernels/backend.h"

namespace precis {

class DeviceAllocator {
 public:
  explicit DeviceAllocator(Backend& backend) : backend_(backend) {}

  // `count` zeros; an array of none when there was no memory: then status() says so.
  template <typename T>
  DeviceArray<T> Make(size_t count) {
    if (!status_.ok()) return {};
    StatusOr<DeviceMemory> memory = backend_.Allocate(count * sizeof(T));
    if (memory.ok()) return DeviceArray<T>(*std::move(memory));
    status_ = memory.status();
    return {};
  }
  template <typename T>
  DeviceArray<T> Copy(std::span<const T> values) {
    DeviceArray<T> out = Make<T>(values.size());
    if (!out.empty()) backend_.Upload(values.data(), values.size_bytes(), out.data());
    return out;
  }

  // Of the first array that could not be made.
  const Status& status() const { return status_; }
  Backend& backend() const { return backend_; }

 private:
  Backend& backend_;
  Status status_;
};

}  // namespace precis
