// What a launch of a test reads and writes, in memory that the kernel reaches. There are two of it,
// chosen by CMake: host_memory.cc hands out the host's own memory, for the emulator, where
// sanitizers see who reads or writes past its end; device_memory.cc has copies in the device's, for
// a real device and for the emulated runtime. And what else differs between these machines.
//
// Owner: one call of a KernelBackend. Thread rule: one test thread.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

namespace precis {

class KernelMemory {
 public:
  KernelMemory();
  ~KernelMemory();
  KernelMemory(const KernelMemory&) = delete;
  KernelMemory& operator=(const KernelMemory&) = delete;

  // Where the kernel finds the host's array, at an address that is as much aligned. What lies in an
  // array that was told before is a part of that one. Null stays null.
  template <typename T>
  const T* Read(const T* host, size_t count) {
    return static_cast<const T*>(Map(host, count * sizeof(T), false));
  }
  template <typename T>
  std::span<const T> Read(std::span<const T> host) {
    return {Read(host.data(), host.size()), host.size()};
  }
  // The same, and the host's array is what the kernel made of it after Run().
  template <typename T>
  T* Write(T* host, size_t count) {
    return static_cast<T*>(const_cast<void*>(Map(host, count * sizeof(T), true)));
  }

  cudaStream_t stream() const;
  // Ends what was launched on the stream. An error of the device fails the test, and so does a
  // kernel that wrote outside of what it may write.
  void Run();

 private:
  const void* Map(const void* host, size_t bytes, bool writes);

  struct Copies;
  std::unique_ptr<Copies> copies_;
};

// Under the emulator in each of its schedules; a device has its own, each time.
void InAllSchedules(const std::function<void()>& test);

}  // namespace precis
