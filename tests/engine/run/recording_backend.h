// A backend between the model and another one that writes down every op with its shapes and the
// bytes it touches. Two models that cost the same leave the same record.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "kernels/forwarding_backend.h"

namespace precis {

struct OpRecord {
  std::string op;      // name and shapes
  uint64_t bytes = 0;  // weights and KV that the op reads or writes
  bool operator==(const OpRecord&) const = default;
};

class RecordingBackend final : public ForwardingBackend {
 public:
  RecordingBackend(std::unique_ptr<Backend> inner, std::vector<OpRecord>* record)
      : ForwardingBackend(std::move(inner)), record_(record) {}

  void Embed(std::span<const int32_t> ids, const void* table, DType table_dtype, size_t d,
             float* out) override {
    Add(fmt::format("embed {} x {}", ids.size(), d), ids.size() * d * ElementBytes(table_dtype));
    ForwardingBackend::Embed(ids, table, table_dtype, d, out);
  }
  void RmsNorm(const float* x, const float* gain, float eps, const Activations& out) override {
    Add(fmt::format("norm {} x {}", out.rows, out.cols), 0);
    ForwardingBackend::RmsNorm(x, gain, eps, out);
  }
  void Gemm(const Activations& in, const PackedMatrix& w, bool accumulate, float* out) override {
    Add(fmt::format("gemm {} x {} x {} {}", in.rows, w.k(), w.n(), accumulate), w.bytes());
    ForwardingBackend::Gemm(in, w, accumulate, out);
  }
  void Activate(ActivationKind kind, const float* in, const Activations& out) override {
    Add(fmt::format("activate {} {} x {}", static_cast<int>(kind), out.rows, out.cols), 0);
    ForwardingBackend::Activate(kind, in, out);
  }
  void GemmOfNorm(const float* x, const float* gain, float eps, const Activations& rows,
                  const PackedMatrix& w, float* out) override {
    Add(fmt::format("gemm of norm {} x {} x {}", rows.rows, w.k(), w.n()), w.bytes());
    ForwardingBackend::GemmOfNorm(x, gain, eps, rows, w, out);
  }
  void GemmOfActivated(ActivationKind kind, const float* in, const Activations& rows,
                       const PackedMatrix& w, float* out) override {
    Add(fmt::format("gemm of activated {} {} x {} x {}", static_cast<int>(kind), rows.rows, w.k(),
                    w.n()),
        w.bytes());
    ForwardingBackend::GemmOfActivated(kind, in, rows, w, out);
  }
  void EncoderAttention(const EncoderAttentionParams& p) override {
    Add(fmt::format("encoder attention {} x {} heads {}", p.out.rows, p.num_keys, p.num_heads), 0);
    ForwardingBackend::EncoderAttention(p);
  }
  void AppendKv(const AppendKvParams& p) override {
    AddAppend(p);
    ForwardingBackend::AppendKv(p);
  }
  void PagedAttention(const PagedAttentionParams& p) override {
    if (p.append != nullptr) AddAppend(*p.append);
    uint64_t keys = 0;
    for (const PagedRow& row : p.rows) keys += row.num_keys;
    Add(fmt::format("paged attention {} rows {} keys {} of {} heads", p.rows.size(), keys,
                    p.region.num_kv_heads, p.groups.heads.size()),
        keys * TokenBytes(p.region));
    ForwardingBackend::PagedAttention(p);
  }
  void SummarizeScores(const SummarizeScoresParams& p) override {
    Add(fmt::format("summarize scores {} x {}", p.rows.size(), p.count), 0);
    ForwardingBackend::SummarizeScores(p);
  }

 private:
  static uint64_t TokenBytes(const KvRegion& r) {
    const uint64_t scale = r.dtype == DType::kI8 ? sizeof(float) : 0;
    return uint64_t{2} * r.num_kv_heads * (r.head_dim * ElementBytes(r.dtype) + scale);
  }
  void AddAppend(const AppendKvParams& p) {
    Add(fmt::format("append {} heads {}", p.slots.size(), p.region.num_kv_heads),
        p.slots.size() * TokenBytes(p.region));
  }
  void Add(std::string op, uint64_t bytes) { record_->push_back({std::move(op), bytes}); }

  std::vector<OpRecord>* const record_;
};

}  // namespace precis
