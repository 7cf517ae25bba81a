// Machines other than x86 have what Highway gives them.
#include "kernels/cpu/isa/kernels.h"

namespace precis {

void SelectIntrinsics(const Isa&, CpuKernels*) {}

}  // namespace precis
