#include "tests/kernels/cuda/kernel_memory.h"

namespace precis {

// A launch without a stream is done when it returns.
struct KernelMemory::Copies {};

KernelMemory::KernelMemory() = default;
KernelMemory::~KernelMemory() = default;
const void* KernelMemory::Map(const void* host, size_t, bool) { return host; }
cudaStream_t KernelMemory::stream() const { return nullptr; }
void KernelMemory::Run() {}

}  // namespace precis
