// An observer that writes down every op of a model with its shapes and the bytes it touches. Two
// models that cost the same leave the same record.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "kernels/backend.h"

namespace precis {

struct OpRecord {
  std::string op;      // name and shapes
  uint64_t bytes = 0;  // weights and KV that the op reads or writes
  bool operator==(const OpRecord&) const = default;
};

class RecordingObserver final : public OpObserver {
 public:
  explicit RecordingObserver(std::vector<OpRecord>* record) : record_(record) {}

  bool Begin(const OpCall& op) override {
    if (const auto* p = op.As<EmbedParams>()) Note(*p);
    if (const auto* p = op.As<NormParams>()) Note(*p);
    if (const auto* p = op.As<GemmParams>()) Note(*p);
    if (const auto* p = op.As<ActivateParams>()) Note(*p);
    if (const auto* p = op.As<GemmOfNormParams>()) Note(*p);
    if (const auto* p = op.As<GemmOfActivatedParams>()) Note(*p);
    if (const auto* p = op.As<EncoderAttentionParams>()) Note(*p);
    if (const auto* p = op.As<AppendKvParams>()) Note(*p);
    if (const auto* p = op.As<PagedAttentionParams>()) Note(*p);
    if (const auto* p = op.As<ReduceScoresParams>()) Note(*p);
    return true;
  }

 private:
  void Note(const EmbedParams& p) {
    const size_t values = p.ids.size() * p.d;
    const bool placed = p.position_table != nullptr;
    Add(fmt::format("embed {} x {}{}", p.ids.size(), p.d, placed ? " at positions" : ""),
        values * (ElementBytes(p.table_dtype) + (placed ? sizeof(float) : 0)));
  }
  void Note(const NormParams& p) {
    Add(fmt::format("norm {} {} x {}{}{}", static_cast<int>(p.norm.kind), p.out.rows, p.out.cols,
                    p.out.data != nullptr ? " out" : "", p.residual != nullptr ? " residual" : ""),
        0);
  }
  void Note(const GemmParams& p) {
    Add(fmt::format("gemm {} x {} x {} {}", p.in.rows, p.w.k(), p.w.n(), p.accumulate),
        p.w.bytes());
  }
  void Note(const ActivateParams& p) {
    Add(fmt::format("activate {}{} {} x {}", p.gated ? "gated " : "", static_cast<int>(p.kind),
                    p.out.rows, p.out.cols),
        0);
  }
  void Note(const GemmOfNormParams& p) {
    Add(fmt::format("gemm of norm {} {} x {} x {}", static_cast<int>(p.norm.kind), p.rows.rows,
                    p.w.k(), p.w.n()),
        p.w.bytes());
  }
  void Note(const GemmOfActivatedParams& p) {
    Add(fmt::format("gemm of activated {}{} {} x {} x {}", p.gated ? "gated " : "",
                    static_cast<int>(p.kind), p.rows.rows, p.w.k(), p.w.n()),
        p.w.bytes());
  }
  void Note(const EncoderAttentionParams& p) {
    Add(fmt::format("encoder attention {} x {} heads {}", p.out.rows, p.num_keys, p.num_heads), 0);
  }
  void Note(const AppendKvParams& p) {
    Add(fmt::format("append {} heads {}", p.slots.size(), p.region.num_kv_heads),
        p.slots.size() * TokenBytes(p.region));
  }
  void Note(const PagedAttentionParams& p) {
    if (p.append != nullptr) Note(*p.append);
    uint64_t keys = 0;
    for (const PagedRow& row : p.rows) keys += row.num_keys;
    Add(fmt::format("paged attention {} rows {} keys {} of {} heads", p.rows.size(), keys,
                    p.region.num_kv_heads, p.groups.heads.size()),
        keys * TokenBytes(p.region));
  }
  void Note(const ReduceScoresParams& p) {
    Add(fmt::format("reduce scores {} x {}", p.rows.size(), p.count), 0);
  }

  static uint64_t TokenBytes(const KvRegion& r) {
    const uint64_t scale = r.dtype == DType::kI8 ? sizeof(float) : 0;
    return uint64_t{2} * r.num_kv_heads * (r.head_dim * ElementBytes(r.dtype) + scale);
  }
  void Add(std::string op, uint64_t bytes) { record_->push_back({std::move(op), bytes}); }

  std::vector<OpRecord>* const record_;
};

}  // namespace precis
