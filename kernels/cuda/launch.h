// How kernels are launched and take their dynamic shared memory. Kernels are also compiled for a
// CPU (tests/simt), where headers of the same names stand in for this one and for ptx.h: so they
// use these two macros, write inline PTX nowhere but in ptx.h, and choose nothing by architecture.
//
// Included by the sources of kernels/cuda. Thread rule: launches are of the thread that has the
// stream.
#pragma once

#include <cuda_runtime.h>

#define PRECIS_LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  (kernel)<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__)

#define PRECIS_DYNAMIC_SHARED(T, name)                            \
  extern __shared__ __align__(128) unsigned char precis_shared[]; \
  T* name = reinterpret_cast<T*>(precis_shared)
