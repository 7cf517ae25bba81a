// The goldens enter every fast path of the CPU kernels: single and merged key chunks, narrow and
// wide heads, grouped and ungrouped, full and partly filled pages, f32 and bf16.
#include <filesystem>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "engine/load/load_model.h"
#include "engine/load/model_probe.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa/kernels.h"
#include "tools/verify/golden_file.h"

namespace precis {
namespace {

using testing::IsSupersetOf;

// The paths that one op takes inside kernels/cpu, by its shapes.
class PathRecorder final : public OpObserver {
 public:
  explicit PathRecorder(std::set<std::string>* paths) : paths_(paths) {}

  bool Begin(const OpCall& op) override {
    if (const auto* p = op.As<EncoderAttentionParams>()) Note(*p);
    if (const auto* p = op.As<PagedAttentionParams>()) Note(*p);
    if (const auto* p = op.As<AppendKvParams>()) Note(*p);
    if (const auto* p = op.As<ActivateParams>()) Note(p->kind, p->gated);
    if (const auto* p = op.As<GemmOfActivatedParams>()) Note(p->kind, p->gated);
    return true;
  }

 private:
  void Note(const EncoderAttentionParams& p) {
    Add("encoder attention", p.head_dim, p.out.dtype);
    paths_->insert(p.num_keys > kEncoderChunkKeys ? "encoder attention: several chunks"
                                                  : "encoder attention: one chunk");
    if (p.out.rows % kEncoderQueryRows != 0) paths_->insert("encoder attention: short query block");
    if (p.out.rows > kEncoderQueryRows) paths_->insert("encoder attention: several query blocks");
  }
  void Note(const PagedAttentionParams& p) {
    if (p.append != nullptr) Note(*p.append);
    Add("paged attention", p.region.head_dim, p.region.dtype);
    for (const PagedRow& row : p.rows) {
      paths_->insert(row.num_keys > kPagedChunkKeys ? "paged attention: merged chunks"
                                                    : "paged attention: one chunk");
      if (row.num_keys % p.region.slots != 0) paths_->insert("paged attention: page partly filled");
    }
    const bool grouped = p.groups.begin.size() - 1 < p.groups.heads.size();
    paths_->insert(grouped ? "paged attention: grouped" : "paged attention: one head a group");
    if (p.region.slots % kMaxLanes != 0) paths_->insert("paged attention: slots no vector holds");
  }
  void Note(const AppendKvParams& p) { Add("append", p.region.head_dim, p.region.dtype); }
  void Note(ActivationKind kind, bool gated) {
    paths_->insert(std::string(gated ? "gated " : "") + NameOf(kind));
  }
  static const char* NameOf(ActivationKind kind) {
    switch (kind) {
      case ActivationKind::kRelu:
        return "relu";
      case ActivationKind::kGelu:
        return "gelu by erf";
      case ActivationKind::kGeluTanh:
        return "gelu by tanh";
      case ActivationKind::kSilu:
        return "silu";
    }
    return "";
  }
  void Add(const std::string& op, uint32_t head_dim, DType dtype) {
    paths_->insert(fmt::format("{}: head_dim {} {}", op, head_dim, std::string(DTypeName(dtype))));
  }
  std::set<std::string>* const paths_;
};

void RunGoldens(const std::string& dir, const std::string& dtype, std::set<std::string>* paths) {
  const auto golden = LoadGolden(dir + "/golden.json");
  ASSERT_TRUE(golden.ok()) << golden.status();
  EngineOptions options;
  options.model_dir = dir;
  options.dtype = dtype;
  options.max_batch = 4;
  options.max_new_tokens = 64;
  options.max_source_tokens = 3000;
  options.pool_bytes = 64u << 20;
  options.encode_slice_rows = 256;  // as golden_test has it: more than one block of queries
  auto backend = MakeBackend({"cpu", "auto", 2});
  ASSERT_TRUE(backend.ok()) << backend.status();
  PathRecorder recorder(paths);
  (*backend)->set_observer(&recorder);
  auto loaded = LoadModelOn(*std::move(backend), options);
  if (!loaded.ok() && absl::StrContains(loaded.status().message(), "no fast bf16 GEMM")) {
    GTEST_SKIP() << "this CPU has no bf16 GEMM: " << loaded.status();
  }
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ModelProbe probe(*loaded->parts.model);
  for (const GoldenCase& c : golden->cases) {
    probe.Logits(c.input_ids, c.decoder_input_ids);
  }
}

TEST(Goldens, EnterEveryFastPathOfTheCpuKernels) {
  std::set<std::string> paths;
  for (const char* name :
       {"t5_v10_relu_tied", "t5_v11_gated_untied", "odd_shapes", "qcqa", "more/d64_mha",
        "more/d64_gqa_g2", "more/d128_mha", "more/d128_wgqa_g2", "families/bart_cnn"}) {
    RunGoldens(std::string("tests/golden/") + name, "f32", &paths);
  }
  const std::set<std::string> want = {"encoder attention: head_dim 16 f32",
                                      "encoder attention: head_dim 24 f32",
                                      "encoder attention: head_dim 64 f32",
                                      "encoder attention: head_dim 128 f32",
                                      "encoder attention: one chunk",
                                      "encoder attention: several chunks",
                                      "encoder attention: short query block",
                                      "encoder attention: several query blocks",
                                      "paged attention: head_dim 16 f32",
                                      "paged attention: head_dim 24 f32",
                                      "paged attention: head_dim 64 f32",
                                      "paged attention: head_dim 128 f32",
                                      "paged attention: one chunk",
                                      "paged attention: merged chunks",
                                      "paged attention: page partly filled",
                                      "paged attention: grouped",
                                      "paged attention: one head a group",
                                      "paged attention: slots no vector holds",
                                      "append: head_dim 64 f32",
                                      "append: head_dim 128 f32",
                                      "relu",
                                      "gated gelu by tanh",
                                      "gelu by erf"};
  EXPECT_THAT(paths, IsSupersetOf(want));
}

TEST(Goldens, EnterTheBf16Paths) {
  std::set<std::string> paths;
  RunGoldens("tests/golden/more/d64_gqa_g2", "bf16", &paths);
  if (IsSkipped()) return;
  EXPECT_THAT(paths, IsSupersetOf(std::set<std::string>{
                         "encoder attention: head_dim 64 bf16", "paged attention: head_dim 64 bf16",
                         "append: head_dim 64 bf16", "paged attention: merged chunks"}));
}

TEST(GoldenFile, SaysHowToMakeOneThatIsMissing) {
  const auto golden = LoadGolden("tests/golden/none/golden.json");
  ASSERT_EQ(golden.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(std::string(golden.status().message()),
            "tests/golden/none/golden.json: there is no such file; python/recipes/golden.py makes "
            "one, with transformers");
}

}  // namespace
}  // namespace precis
