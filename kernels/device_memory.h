// Memory that ops read and write: of the host, or of a device, whose bytes the host cannot reach.
// There it is zero until written.
//
// Owner: whoever asked Backend::Allocate() for it; it goes before its backend. Thread rule: as the
// ops that use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace precis {

class DeviceMemory {
 public:
  using Free = void (*)(std::byte* data, size_t bytes);

  DeviceMemory() = default;
  DeviceMemory(std::byte* data, size_t bytes, Free free)
      : data_(data), bytes_(bytes), free_(free) {}
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        free_(other.free_) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(free_, other.free_);
    return *this;
  }
  ~DeviceMemory() {
    if (data_ != nullptr) free_(data_, bytes_);
  }

  std::byte* data() const { return data_; }  // aligned to 64 bytes; null when empty
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Free free_ = nullptr;
};

// Elements of one type in device memory. They are reached by ops, Upload() and Download() only.
template <typename T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(DeviceMemory memory) : memory_(std::move(memory)) {}

  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  size_t size() const { return memory_.bytes() / sizeof(T); }
  bool empty() const { return size() == 0; }

 private:
  DeviceMemory memory_;
};

}  // namespace precis
