// The oracle's sums as a device's GEMM: cuBLASLt's are not ours to test.
//
// Owner: a CudaBackend under test. Thread rule: as DeviceGemm.
#pragma once

#include <memory>

#include "kernels/cuda/gemm/device_gemm.h"

namespace precis {

std::unique_ptr<cuda::DeviceGemm> EmulatedGemm();
// One that adds up in another order for more than one row, or only where it adds to what is there:
// what Prepare() must refuse.
std::unique_ptr<cuda::DeviceGemm> GemmThatVaries(bool only_accumulating = false);
// One whose library refuses products while `fails`.
std::unique_ptr<cuda::DeviceGemm> GemmThatFails(const bool* fails);
// One whose library allocates in each product, which no capture may have.
std::unique_ptr<cuda::DeviceGemm> GemmThatAllocates();

}  // namespace precis
