// The oracle with memory that no one else reaches: between its calls the pages are closed, as a
// device's are. What the model touches outside of an op ends the process.
//
// Owner: the runner. Thread rule: as Backend.
#pragma once

#include <sys/mman.h>

#include "kernels/ref/ref_backend.h"

namespace precis {

class GuardedBackend final : public RefBackend, private OpObserver {
 public:
  GuardedBackend()
      : base_(
            mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    set_observer(this);
  }
  ~GuardedBackend() override { munmap(base_, kBytes); }

  StatusOr<DeviceMemory> Allocate(size_t bytes) override {
    const size_t at = used_;
    used_ += (bytes + 63) / 64 * 64;
    if (base_ == MAP_FAILED || used_ > kBytes) {
      return Status(absl::StatusCode::kResourceExhausted, "the guarded memory is full");
    }
    return DeviceMemory(static_cast<std::byte*>(base_) + at, bytes, [](std::byte*, size_t) {});
  }
  void Upload(const void* host, size_t bytes, void* device) override {
    Protect(PROT_READ | PROT_WRITE);
    RefBackend::Upload(host, bytes, device);
    Protect(PROT_NONE);
  }
  void Download(const void* device, size_t bytes, void* host) override {
    Protect(PROT_READ | PROT_WRITE);
    RefBackend::Download(device, bytes, host);
    Protect(PROT_NONE);
  }

 private:
  static constexpr size_t kBytes = size_t{256} << 20;

  // During an op the memory can be reached.
  bool Begin(const OpCall& /*op*/) override {
    Protect(PROT_READ | PROT_WRITE);
    return true;
  }
  void End(const OpCall& /*op*/) override { Protect(PROT_NONE); }
  void Protect(int rights) { mprotect(base_, used_, rights); }

  void* const base_;
  size_t used_ = 0;
};

}  // namespace precis
