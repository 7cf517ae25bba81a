// The CUDA device that we run on, or what this machine lacks for one.
//
// Called by the CUDA backend's factory, before anything else of CUDA. Thread rule: any thread.
#pragma once

#include <string>

#include "common/status.h"

namespace precis::cuda {

// The first device, which is every thread's without being asked for; CUDA_VISIBLE_DEVICES says
// which one is first. UNAVAILABLE where there is no driver, an old one, no device, or one older
// than the kernels are written for.
StatusOr<std::string> FindDevice();  // its name, compute capability and memory, and CUDA's versions

}  // namespace precis::cuda
