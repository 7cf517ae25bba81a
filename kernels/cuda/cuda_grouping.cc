// What only some attention variants need, on a CUDA device.
#include "kernels/cuda/cuda_backend.h"

namespace precis::cuda {

void CudaBackend::DoSumKeySquares(const SumKeySquaresParams& params) {
  if (Failed() || params.rows.empty()) return;
  MakeRoom(Bytes(params.rows) + Bytes(params.pages));
  SumKeySquaresParams p = params;
  p.rows = Stage(params.rows);
  p.pages = StagePages(params.pages);
  Launch([p](cudaStream_t stream) { cuda::SumKeySquares(p, stream); });
}

void CudaBackend::DoAssignHeads(const AssignHeadsParams& params) {
  if (Failed() || params.rows.empty()) return;
  MakeRoom(Bytes(params.rows) + Bytes(params.pages));
  AssignHeadsParams p = params;
  p.rows = Stage(params.rows);
  p.pages = StagePages(params.pages);
  Launch([p](cudaStream_t stream) { cuda::AssignHeads(p, stream); });
}

void CudaBackend::DoSubtractNoise(const SubtractNoiseParams& params) {
  if (Failed() || params.rows.empty()) return;
  MakeRoom(Bytes(params.rows));
  SubtractNoiseParams p = params;
  p.rows = Stage(params.rows);
  Launch([p](cudaStream_t stream) { cuda::SubtractNoise(p, stream); });
}

}  // namespace precis::cuda
