#include "tools/bench/limit/op_recorder.h"

#include <algorithm>

namespace precis {

uint64_t PhaseRecord::WorkingSetBytes() const {
  uint64_t bytes = 0;
  for (const auto& [matrix, matrix_bytes] : matrices) bytes += matrix_bytes;
  uint64_t others = 0;
  for (const auto& [cost, total] : ops) {
    if (cost.kind != OpKind::kGemm) others += cost.streamed_bytes * total.count;
  }
  return bytes + (passes > 0 ? others / passes : others);
}

// `cost` is asked for only while something records.
template <typename Cost, typename Op>
void OpRecorder::Record(const Cost& cost, const Op& op) {
  if (record_ == nullptr && computes_) return op();
  const TimePoint start = clock_.Now();
  if (computes_) op();
  const double took = Seconds(clock_.Now() - start);
  if (record_ == nullptr) return;
  PhaseRecord::Total& total = record_->of(phase_).ops[cost()];
  total.fastest_s = total.count == 0 ? took : std::min(total.fastest_s, took);
  ++total.count;
  total.seconds += took;
}

void OpRecorder::Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
                       float* out) {
  Record([&] { return EmbedCost(ids.size(), table_dtype, d); },
         [&] { ForwardingBackend::Embed(ids, table, table_dtype, d, out); });
}

void OpRecorder::RmsNorm(const float* x, const float* gain, float eps, const Activations& out) {
  Record([&] { return NormCost(out); }, [&] { ForwardingBackend::RmsNorm(x, gain, eps, out); });
}

void OpRecorder::Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) {
  Record([&] { return GemmCost(in, w, accumulate); },
         [&] { ForwardingBackend::Gemm(in, w, accumulate, out); });
  NoteMatrix(w);
}

void OpRecorder::GemmOfNorm(const float* x, const float* gain, float eps, const Activations& rows,
                            const PackedMatrix& w, float* out) {
  Record([&] { return GemmOfCost(NormCost(rows), rows, w, false); },
         [&] { ForwardingBackend::GemmOfNorm(x, gain, eps, rows, w, out); });
  NoteMatrix(w);
}

void OpRecorder::GemmOfActivated(ActivationKind kind, const float* in, const Activations& rows,
                                 const PackedMatrix& w, float* out) {
  Record([&] { return GemmOfCost(ActivateCost(kind, rows), rows, w, true); },
         [&] { ForwardingBackend::GemmOfActivated(kind, in, rows, w, out); });
  NoteMatrix(w);
}

void OpRecorder::NoteMatrix(const PackedMatrix& w) {
  if (record_ == nullptr) return;
  record_->of(phase_).matrices[&w] = uint64_t{w.n()} * w.k() * ElementBytes(w.dtype());
}

void OpRecorder::Activate(ActivationKind kind, const float* in, const Activations& out) {
  Record([&] { return ActivateCost(kind, out); },
         [&] { ForwardingBackend::Activate(kind, in, out); });
}

void OpRecorder::EncoderAttention(const EncoderAttentionParams& params) {
  Record([&] { return EncoderAttentionCost(params); },
         [&] { ForwardingBackend::EncoderAttention(params); });
}

void OpRecorder::AppendKv(const AppendKvParams& params) {
  Record([&] { return AppendKvCost(params); }, [&] { ForwardingBackend::AppendKv(params); });
}

void OpRecorder::PagedAttention(const PagedAttentionParams& params) {
  Record([&] { return PagedAttentionCost(params); },
         [&] { ForwardingBackend::PagedAttention(params); });
}

void OpRecorder::CopySlots(const CopySlotsParams& params) {
  Record([&] { return CopySlotsCost(params); }, [&] { ForwardingBackend::CopySlots(params); });
}

void OpRecorder::SumKeySquares(const SumKeySquaresParams& params) {
  Record([&] { return SumKeySquaresCost(params); },
         [&] { ForwardingBackend::SumKeySquares(params); });
}

void OpRecorder::DealHeads(const DealHeadsParams& params) {
  Record([&] { return DealHeadsCost(params); }, [&] { ForwardingBackend::DealHeads(params); });
}

void OpRecorder::SubtractNoise(const SubtractNoiseParams& params) {
  Record([&] { return SubtractNoiseCost(params); },
         [&] { ForwardingBackend::SubtractNoise(params); });
}

void OpRecorder::SummarizeScores(const SummarizeScoresParams& params) {
  Record([&] { return SummarizeScoresCost(params); },
         [&] { ForwardingBackend::SummarizeScores(params); });
  if (computes_) return;
  for (ScoreSummary& row : params.rows) {
    row.best[0] = {0, 0};
    row.num_best = 1;
  }
}

}  // namespace precis
