#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/cuda/kernel_memory.h"

namespace precis {
namespace {

// Round every array on the device, of NaN in all types: who reads them has a wrong result, who
// writes them is seen.
constexpr size_t kGuardBytes = 512;
constexpr std::byte kGuard{0xFF};
// Addresses on the device are as much aligned as the host's, up to so many bytes: those of
// cudaMalloc are.
constexpr size_t kAlignment = 256;

void Expect(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  ADD_FAILURE() << what << ": " << cudaGetErrorName(error) << " (" << cudaGetErrorString(error)
                << ")";
}

}  // namespace

struct KernelMemory::Copies {
  struct Array {
    std::byte* host;
    size_t bytes;
    bool writes;
    std::byte* device;  // of the first guard
    size_t shift;       // from there to the array
    size_t room;        // with both guards
  };
  bool Holds(const Array& array, const std::byte* host, size_t bytes) const {
    return host >= array.host && host + bytes <= array.host + array.bytes;
  }
  cudaStream_t stream = nullptr;
  std::vector<Array> arrays;
};

KernelMemory::KernelMemory() : copies_(std::make_unique<Copies>()) {
  Expect(cudaStreamCreateWithFlags(&copies_->stream, cudaStreamNonBlocking), "no stream");
}

KernelMemory::~KernelMemory() {
  for (const Copies::Array& array : copies_->arrays) cudaFree(array.device);
  if (copies_->stream != nullptr) cudaStreamDestroy(copies_->stream);
}

cudaStream_t KernelMemory::stream() const { return copies_->stream; }

const void* KernelMemory::Map(const void* from, size_t bytes, bool writes) {
  if (from == nullptr) return nullptr;
  auto* host = static_cast<std::byte*>(const_cast<void*>(from));
  for (Copies::Array& array : copies_->arrays) {
    if (!copies_->Holds(array, host, bytes)) continue;
    array.writes |= writes;
    return array.device + array.shift + (host - array.host);
  }
  const size_t shift = kGuardBytes + reinterpret_cast<uintptr_t>(host) % kAlignment;
  const size_t room = shift + bytes + kGuardBytes;
  void* device = nullptr;
  Expect(cudaMalloc(&device, room), "no device memory");
  if (device == nullptr) return nullptr;
  std::vector<std::byte> whole(room, kGuard);
  if (bytes > 0) std::memcpy(whole.data() + shift, host, bytes);
  Expect(cudaMemcpyAsync(device, whole.data(), room, cudaMemcpyHostToDevice, copies_->stream),
         "copying to the device");
  auto* first = static_cast<std::byte*>(device);
  copies_->arrays.push_back({host, bytes, writes, first, shift, room});
  return first + shift;
}

void KernelMemory::Run() {
  Expect(cudaGetLastError(), "the launch");
  Expect(cudaStreamSynchronize(copies_->stream), "the kernel");
  for (const Copies::Array& array : copies_->arrays) {
    std::vector<std::byte> whole(array.room);
    Expect(cudaMemcpyAsync(whole.data(), array.device, array.room, cudaMemcpyDeviceToHost,
                           copies_->stream),
           "copying from the device");
    Expect(cudaStreamSynchronize(copies_->stream), "copying from the device");
    const auto payload = whole.begin() + static_cast<ptrdiff_t>(array.shift);
    const auto end = payload + static_cast<ptrdiff_t>(array.bytes);
    const auto is_guard = [](std::byte b) { return b == kGuard; };
    EXPECT_TRUE(std::all_of(whole.begin(), payload, is_guard) &&
                std::all_of(end, whole.end(), is_guard))
        << "the kernel wrote outside of an array of " << array.bytes << " bytes";
    if (array.bytes == 0) continue;
    if (array.writes) {
      std::memcpy(array.host, &*payload, array.bytes);
    } else {
      EXPECT_EQ(std::memcmp(array.host, &*payload, array.bytes), 0)
          << "the kernel wrote what it only reads";
    }
  }
}

}  // namespace precis
