// Takes the place of kernels/cuda/launch.h under emulation.
//
// Included by kernels/cuda. Thread rule: as there.
#pragma once

#include <cuda_runtime.h>

#include "tests/simt/launch.h"

#define PRECIS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::precis::simt::Launch(kernel, dim3(grid), dim3(block), shared_bytes, stream, __VA_ARGS__)

#define PRECIS_DYNAMIC_SHARED(T, name) \
  T* name = reinterpret_cast<T*>(::precis::simt::this_block->shared())
