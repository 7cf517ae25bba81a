// A backend that passes every op on to another one and, while it is asked to, writes down what the
// op must cost (tools/bench/limit/op_cost.h) and how long it took.
//
// Owner: the runner it is loaded with. Thread rule: as Backend; Start, Stop and the readers while
// no op runs.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "common/clock.h"
#include "kernels/forwarding_backend.h"
#include "tools/bench/limit/op_cost.h"

namespace precis {

enum class BenchPhase : uint8_t { kEncode, kDecode };

// What was recorded of one phase: ops of one cost together.
struct PhaseRecord {
  struct Total {
    uint64_t count = 0;
    double seconds = 0;
    double fastest_s = 0;  // one op
  };
  std::map<OpCost, Total> ops;
  std::map<const PackedMatrix*, uint64_t> matrices;  // that were used, and their bytes
  // Documents encoded, or decode steps: what is streamed again in each.
  uint64_t passes = 0;

  // Bytes that are streamed from one use of them to the next: all matrices, and a pass's share of
  // pages and embedding.
  uint64_t WorkingSetBytes() const;
};

struct RunRecord {
  PhaseRecord phases[2];  // [BenchPhase]
  PhaseRecord& of(BenchPhase phase) { return phases[static_cast<size_t>(phase)]; }
  const PhaseRecord& of(BenchPhase phase) const { return phases[static_cast<size_t>(phase)]; }
};

class OpRecorder final : public ForwardingBackend {
 public:
  explicit OpRecorder(std::unique_ptr<Backend> inner) : ForwardingBackend(std::move(inner)) {}

  // Records what follows into `record`, which outlives it; nullptr: nothing.
  void RecordInto(RunRecord* record) { record_ = record; }
  void SetPhase(BenchPhase phase) { phase_ = phase; }
  // From now on ops are written down and not run: what they should have computed is whatever lies
  // there, and the best token of every row is the first of the vocabulary.
  void StopComputing() { computes_ = false; }

  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override;
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override;
  void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) override;
  void Activate(ActivationKind kind, const float* in, const Activations& out) override;
  void GemmOfNorm(const float* x, const float* gain, float eps, const Activations& rows,
                  const PackedMatrix& w, float* out) override;
  void GemmOfActivated(ActivationKind kind, const float* in, const Activations& rows,
                       const PackedMatrix& w, float* out) override;
  void EncoderAttention(const EncoderAttentionParams& params) override;
  void AppendKv(const AppendKvParams& params) override;
  void PagedAttention(const PagedAttentionParams& params) override;
  void CopySlots(const CopySlotsParams& params) override;
  void SumKeySquares(const SumKeySquaresParams& params) override;
  void DealHeads(const DealHeadsParams& params) override;
  void SubtractNoise(const SubtractNoiseParams& params) override;
  void SummarizeScores(const SummarizeScoresParams& params) override;

 private:
  template <typename Cost, typename Op>
  void Record(const Cost& cost, const Op& op);
  void NoteMatrix(const PackedMatrix& w);

  const SteadyClock clock_;
  RunRecord* record_ = nullptr;
  BenchPhase phase_ = BenchPhase::kEncode;
  bool computes_ = true;
};

}  // namespace precis
