#include "tests/kernels/cuda/kernel_memory.h"
#include "tests/simt/launch.h"

namespace precis {

void InAllSchedules(const std::function<void()>& test) { simt::InAllSchedules(test); }

}  // namespace precis
