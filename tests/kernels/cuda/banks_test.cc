// What only the emulator tells of kernels: rows of matrices that meet in a bank of shared memory.
#include "tests/kernels/cpu/encoder_testing.h"
#include "tests/kernels/cuda/kernel_backend.h"
#include "tests/simt/matrix.h"

namespace precis {
namespace {

// A row of a matrix that finds its banks taken waits for another turn.
TEST(CudaBanks, EncoderMatrixLoadsMeetInNone) {
  KernelBackend cuda;
  simt::MatrixLoads& loads = simt::CountedMatrixLoads();
  for (const uint32_t head_dim : {32u, 64u, 128u}) {
    loads.matrices = loads.conflicts = 0;
    EncoderDocument({40, 1, head_dim, true, DType::kBF16}).Run(&cuda, 0, 40);
    EXPECT_GT(loads.matrices, 100u);
    EXPECT_EQ(loads.conflicts, 0u) << head_dim;
  }
}

}  // namespace
}  // namespace precis
