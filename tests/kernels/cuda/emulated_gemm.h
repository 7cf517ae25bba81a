// The oracle's sums as a device's GEMM: cuBLASLt's are not ours to test.
//
// Owner: a CudaBackend under test. Thread rule: as DeviceGemm.
#pragma once

#include <memory>

#include "kernels/cuda/device_gemm.h"

namespace precis {

std::unique_ptr<cuda::DeviceGemm> EmulatedGemm();
// One that adds up in another order for more than one row: what Prepare() must refuse.
std::unique_ptr<cuda::DeviceGemm> GemmThatVaries();
// One whose library takes `products` and no more.
std::unique_ptr<cuda::DeviceGemm> GemmThatFailsAfter(int products);
// One whose library allocates in each product, which no capture may have.
std::unique_ptr<cuda::DeviceGemm> GemmThatAllocates();

}  // namespace precis
