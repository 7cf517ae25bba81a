// Counted work: the ops of a document and of decode steps, and the bytes they must move, are those
// that follow from config.json, one op at a time. A change that adds an op or a byte shows here,
// where times would not tell.
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/load/load_model.h"
#include "engine/load/model_probe.h"
#include "gtest/gtest.h"
#include "tools/bench/limit/op_recorder.h"

namespace precis {
namespace {

constexpr uint32_t kSource = 150;  // two slices of the encoder
constexpr uint32_t kSlices = 2;
constexpr uint32_t kSteps = 20;

struct Work {
  uint64_t count = 0;
  uint64_t flops = 0;
  uint64_t streamed = 0;
  bool operator==(const Work&) const = default;
};
using WorkByKind = std::map<OpKind, Work>;

std::ostream& operator<<(std::ostream& out, const Work& w) {
  return out << w.count << " ops, " << w.flops << " flops, " << w.streamed << " bytes";
}

struct Case {
  const char* dir;
  const char* backend;
  const char* dtype;
};

class CountedWork : public testing::TestWithParam<Case> {
 protected:
  // A document is encoded, then decoded alone for kSteps steps.
  void SetUp() override {
    EngineOptions options;
    options.model_dir = GetParam().dir;
    options.dtype = options.kv_dtype = GetParam().dtype;
    options.max_batch = 1;
    options.max_source_tokens = kSource;
    options.max_new_tokens = kSteps;
    options.pool_bytes = 16u << 20;
    options.encode_slice_rows = 128;
    auto backend = MakeBackend({.name = GetParam().backend, .threads = 1});
    ASSERT_TRUE(backend.ok()) << backend.status();
    (*backend)->set_observer(&recorder_);
    auto loaded = LoadModelOn(*std::move(backend), options);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    model_ = std::move(loaded->parts.model);
    std::vector<int32_t> ids(kSource);
    std::iota(ids.begin(), ids.end(), 10);
    ModelProbe probe(*model_);
    recorder_.RecordInto(&encode_);
    probe.Encode(ids);
    recorder_.RecordInto(&both_);
    probe.Logits(ids, std::vector<int32_t>(ids.begin(), ids.begin() + kSteps));
    recorder_.RecordInto(nullptr);
  }

  static WorkByKind Sum(const RunRecord& record) {
    WorkByKind sum;
    for (const auto& [cost, total] : record.of(BenchPhase::kEncode).ops) {
      Work& work = sum[cost.kind];
      work.count += total.count;
      work.flops += total.count * cost.flops;
      work.streamed += total.count * cost.streamed_bytes;
    }
    return sum;
  }
  WorkByKind Encode() const { return Sum(encode_); }
  // Logits() encodes as well.
  WorkByKind Decode() const {
    const WorkByKind encode = Encode();
    WorkByKind decode = Sum(both_);
    for (const auto& [kind, work] : encode) {
      Work& left = decode[kind];
      left = {left.count - work.count, left.flops - work.flops, left.streamed - work.streamed};
      if (left == Work{}) decode.erase(kind);
    }
    return decode;
  }

  uint64_t element() const { return ElementBytes(model_->weights.types.projections); }
  uint64_t inner() const {
    return uint64_t{config().decoder.num_heads} * config().decoder.head_dim;
  }
  uint64_t kv_width() const {
    return uint64_t{2} * model_->layout.self.layers[0].num_kv_heads * config().decoder.head_dim;
  }
  const ModelConfig& config() const { return model_->config; }

  OpRecorder recorder_;  // before the model, whose ops it observes
  std::unique_ptr<Model> model_;
  RunRecord encode_;
  RunRecord both_;
};

TEST_P(CountedWork, OfADocumentFollowsFromTheConfig) {
  const ModelConfig& c = config();
  const uint64_t layers = c.encoder.layers;
  const uint64_t d = c.d_model;
  const uint64_t wi = (c.gated ? 2 : 1) * c.decoder.d_ff;
  const uint64_t weights = layers * (d * 3 * inner() + inner() * d + d * wi + c.decoder.d_ff * d) +
                           c.decoder.layers * d * kv_width();  // K and V of cross-attention
  const WorkByKind want = {
      {OpKind::kEmbed, {kSlices, 0, kSource * d * element()}},
      {OpKind::kNorm, {kSlices, 0, 0}},  // the last; others are on the way into a GEMM
      {OpKind::kGemm,
       {(4 * layers + c.decoder.layers) * kSlices, 2 * kSource * weights,
        kSlices * weights * element()}},
      {OpKind::kEncoderAttention, {layers * kSlices, layers * 4 * kSource * kSource * inner(), 0}},
      {OpKind::kAppendKv,
       {c.decoder.layers * kSlices, 0, c.decoder.layers * kSource * kv_width() * element()}},
  };
  EXPECT_EQ(Encode(), want);
}

TEST_P(CountedWork, OfStepsFollowsFromTheConfig) {
  const ModelConfig& c = config();
  const uint64_t layers = c.decoder.layers;
  const uint64_t d = c.d_model;
  const uint64_t wi = (c.gated ? 2 : 1) * c.decoder.d_ff;
  const uint64_t weights = layers * (d * (inner() + kv_width()) + inner() * d + d * inner() +
                                     inner() * d + d * wi + c.decoder.d_ff * d) +
                           d * c.vocab_size;
  const uint64_t self_keys = kSteps * (kSteps + 1) / 2;
  const uint64_t panels = model_->weights.lm_head.size();
  const uint64_t token = kv_width() * element();  // of K and V in one layer
  const WorkByKind want = {
      {OpKind::kEmbed, {kSteps, 0, kSteps * d * element()}},
      {OpKind::kNorm, {kSteps, 0, 0}},
      {OpKind::kGemm,
       {(6 * layers + panels) * kSteps, 2 * kSteps * weights, kSteps * weights * element()}},
      // A step's token is appended by the way.
      {OpKind::kSelfAttention,
       {layers * kSteps, layers * 4 * self_keys * inner(), layers * (self_keys + kSteps) * token}},
      {OpKind::kCrossAttention,
       {layers * kSteps, layers * 4 * kSteps * kSource * inner(),
        layers * kSteps * kSource * token}},
  };
  EXPECT_EQ(Decode(), want);
}

TEST_P(CountedWork, MatricesAreThoseOfTheEncoderAndTheDecoder) {
  const uint64_t encoder = 4 * config().encoder.layers + config().decoder.layers;
  EXPECT_EQ(encode_.of(BenchPhase::kEncode).matrices.size(), encoder);
  EXPECT_EQ(both_.of(BenchPhase::kEncode).matrices.size(),
            encoder + 6 * config().decoder.layers + model_->weights.lm_head.size());
}

std::string Name(const testing::TestParamInfo<Case>& info) {
  std::string dir = info.param.dir;
  dir = dir.substr(dir.rfind('/') + 1);
  return dir + "_" + info.param.backend + "_" + info.param.dtype;
}
INSTANTIATE_TEST_SUITE_P(Ref, CountedWork,
                         testing::Values(Case{"tests/golden/gqa_g2", "ref", "f32"},
                                         Case{"tests/golden/t5_v11_gated_untied", "ref", "f32"}),
                         Name);
#if PRECIS_TEST_CPU_BACKEND
INSTANTIATE_TEST_SUITE_P(Cpu, CountedWork,
                         testing::Values(Case{"tests/golden/gqa_g2", "cpu", "f32"},
                                         Case{"models/demo", "cpu", "f32"}),
                         Name);
#endif

}  // namespace
}  // namespace precis
