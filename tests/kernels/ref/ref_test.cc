// The oracle itself, against numbers worked out by hand.
#include <numbers>

#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

TEST(RefBackend, GemmMultipliesByTheTransposeAndAccumulates) {
  const auto ref = Ref();
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};  // [2, 3]
  const auto packed = ref->Pack({"w", w, 2, 3, DType::kF32, 2}).value();
  std::vector<float> in = {1, 0, -1, 2, 2, 2};  // [2, 3]
  std::vector<float> out = {100, 200, 300, 400};
  ref->Gemm({{in.data(), DType::kF32, 2, 3}, *packed, false, out.data()});
  EXPECT_EQ(out, (std::vector<float>{-2, -2, 12, 30}));
  ref->Gemm({{in.data(), DType::kF32, 2, 3}, *packed, true, out.data()});
  EXPECT_EQ(out, (std::vector<float>{-4, -4, 24, 60}));
}

TEST(RefBackend, GemmAddsTheBiasToEveryRow) {
  const auto ref = Ref();
  const std::vector<float> w = {1, 2, 3, 4};  // [2, 2]
  const std::vector<float> bias = {0.5f, -0.25f};
  const auto packed = ref->Pack({"w", w, 2, 2, DType::kF32, 2, bias}).value();
  EXPECT_TRUE(packed->has_bias());
  std::vector<float> in = {1, 0, 0, 1};
  std::vector<float> out = {10, 10, 10, 10};
  ref->Gemm({{in.data(), DType::kF32, 2, 2}, *packed, true, out.data()});
  EXPECT_EQ(out, (std::vector<float>{11.5f, 12.75f, 12.5f, 13.75f}));
  ref->Gemm({{in.data(), DType::kF32, 2, 2}, *packed, false, out.data()});
  EXPECT_EQ(out, (std::vector<float>{1.5f, 2.75f, 2.5f, 3.75f}));
}

TEST(RefBackend, RoundsBf16WeightsWhenPacking) {
  const auto ref = Ref();
  const std::vector<float> w = {1.00390625f};  // halfway between two bf16: the even one is 1
  const auto packed = ref->Pack({"w", w, 1, 1, DType::kBF16, 1}).value();
  uint16_t one = F32ToBF16(1.0f);
  float out = 0;
  ref->Gemm({{&one, DType::kBF16, 1, 1}, *packed, false, &out});
  EXPECT_EQ(out, 1.0f);
}

// Scales are 2 and 0.5 for the rows of w, 4 for the input: 90 / 4 and 5 / 2 are ties.
TEST(RefBackend, GemmInInt8RoundsWeightsAndInputsByRows) {
  const auto ref = Ref();
  const std::vector<float> w = {254, 5, 0, -63.5f};
  const std::vector<float> bias = {1000, -7};
  const auto packed = ref->Pack({"w", w, 2, 2, DType::kI8, 1, bias}).value();
  ASSERT_TRUE(ref->Prepare({}).ok());
  std::vector<float> in = {-508, 90};
  std::vector<float> out = {1, 1};
  ref->Gemm({{in.data(), DType::kF32, 1, 2}, *packed, true, out.data()});
  EXPECT_FLOAT_EQ(out[0], 1 + 1000 + 4 * 2 * (-127.0f * 127 + 22 * 2));
  EXPECT_FLOAT_EQ(out[1], 1 - 7 + 4 * 0.5f * (22 * -127.0f));
}

TEST(RefBackend, GemmInInt8SaysNaNOfARowThatHasOne) {
  const auto ref = Ref();
  const std::vector<float> w = {1, 1};
  const auto packed = ref->Pack({"w", w, 1, 2, DType::kI8, 2}).value();
  ASSERT_TRUE(ref->Prepare({}).ok());
  std::vector<float> in = {NAN, 1, 0, 0};
  std::vector<float> out(2);
  ref->Gemm({{in.data(), DType::kF32, 2, 2}, *packed, false, out.data()});
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[1], 0);
}

TEST(RefBackend, RmsNormDividesByTheRootMeanSquare) {
  const std::vector<float> x = {3, 4};
  const std::vector<float> gain = {1, 2};
  std::vector<float> out(2);
  const NormWeights norm{NormKind::kRms, gain.data(), nullptr, 0};
  Ref()->Norm({x.data(), norm, {out.data(), DType::kF32, 1, 2}});
  EXPECT_FLOAT_EQ(out[0], 3 / std::sqrt(12.5f));
  EXPECT_FLOAT_EQ(out[1], 8 / std::sqrt(12.5f));
}

// Of 1, 3 and 8 the mean is 4 and the variance (9 + 1 + 16) / 3.
TEST(RefBackend, LayerNormTakesTheMeanOffAndDividesByTheDeviation) {
  const std::vector<float> x = {1, 3, 8};
  const std::vector<float> gain = {1, 2, -1};
  const std::vector<float> shift = {0, 10, 0.5f};
  std::vector<float> out(3);
  std::vector<float> residual(3);
  const NormWeights norm{NormKind::kLayer, gain.data(), shift.data(), 0};
  Ref()->Norm({x.data(), norm, {out.data(), DType::kF32, 1, 3}, residual.data()});
  const float deviation = std::sqrt(26.0f / 3);
  EXPECT_FLOAT_EQ(out[0], -3 / deviation);
  EXPECT_FLOAT_EQ(out[1], 10 - 2 / deviation);
  EXPECT_FLOAT_EQ(out[2], 0.5f - 4 / deviation);
  EXPECT_EQ(residual, out);
}

// Values as torch.nn.functional gives them.
TEST(RefBackend, ActivatesPlainAndGated) {
  struct Want {
    ActivationKind kind;
    double of_minus_1;
    double of_2;
  };
  const std::vector<float> in = {-1, 2, 3, 5};  // gated: [gate -1, 2 | up 3, 5]
  for (const Want& want :
       {Want{ActivationKind::kRelu, 0, 2}, Want{ActivationKind::kGelu, -0.15865525, 1.95449974},
        Want{ActivationKind::kGeluTanh, -0.15880801, 1.95459769},
        Want{ActivationKind::kSilu, -0.26894142, 1.76159416}}) {
    std::vector<float> plain(4);
    Ref()->Activate({want.kind, false, in.data(), {plain.data(), DType::kF32, 1, 4}});
    EXPECT_NEAR(plain[0], want.of_minus_1, 1e-7);
    EXPECT_NEAR(plain[1], want.of_2, 2e-7);
    std::vector<float> gated(2);
    Ref()->Activate({want.kind, true, in.data(), {gated.data(), DType::kF32, 1, 2}});
    EXPECT_NEAR(gated[0], 3 * want.of_minus_1, 1e-6);
    EXPECT_NEAR(gated[1], 5 * want.of_2, 1e-6);
  }
}

TEST(RefBackend, EmbedTakesRows) {
  const std::vector<float> table = {0, 1, 2, 3, 4, 5};
  const std::vector<int32_t> ids = {2, 0};
  std::vector<float> out(4);
  Ref()->Embed({ids, table.data(), DType::kF32, 2, out.data()});
  EXPECT_EQ(out, (std::vector<float>{4, 5, 0, 1}));
}

TEST(RefBackend, ReducesScoresPanelByPanel) {
  TokenScore best[3];
  ScoreReduction row{.best = best, .wants_sum = true};
  const std::vector<float> first = {1, 3, 1};
  const std::vector<float> second = {3, 2, -INFINITY};
  const auto ref = Ref();
  ref->ReduceScores({first.data(), 3, 10, {&row, 1}});
  ref->ReduceScores({second.data(), 3, 13, {&row, 1}});
  ASSERT_EQ(row.num_best, 3u);
  EXPECT_EQ(best[0].token, 11);
  EXPECT_EQ(best[1].token, 13) << "of the same score as 11";
  EXPECT_EQ(best[2].token, 14);
  EXPECT_EQ(row.max, 3);
  EXPECT_NEAR(row.sum, 2 + 2 * std::exp(-2.0) + std::exp(-1.0), 1e-12);
}

TEST(RefBackend, EncoderAttentionWeighsByTheSoftmaxOfScoreAndBias) {
  const auto ref = Ref();
  ASSERT_TRUE(ref->Prepare({.head_dim = 1, .max_source_tokens = 2}).ok());
  const std::vector<float> q = {1, 1};
  const std::vector<float> k = {0, 0};
  const std::vector<float> v = {4, 8};
  const auto ln3 = static_cast<float>(std::log(3.0));
  const std::vector<float> bias = {ln3, 0, ln3};  // key before, at and after the query
  std::vector<float> out(2);
  ref->EncoderAttention({.q = q.data(),
                         .k = k.data(),
                         .v = v.data(),
                         .row_stride = 1,
                         .num_keys = 2,
                         .num_heads = 1,
                         .head_dim = 1,
                         .begin = 0,
                         .bias = {bias.data(), 3, 1},
                         .out = {out.data(), DType::kF32, 2, 1}});
  EXPECT_FLOAT_EQ(out[0], 0.25f * 4 + 0.75f * 8);
  EXPECT_FLOAT_EQ(out[1], 0.75f * 4 + 0.25f * 8);
}

TEST(RefBackend, PagedAttentionReadsThePagesInTheirOrderAndTheGroupsHead) {
  const auto ref = Ref();
  ASSERT_TRUE(ref->Prepare({.max_target_tokens = 3}).ok());
  // Two KV heads, pages of two slots, head_dim 1: [k 64 bytes][v 64 bytes].
  alignas(64) std::byte memory[2 * 128 + 64] = {};
  const KvPool pool{memory, 128};
  const KvRegion region{0, 64, 2, 2, 1, DType::kF32};
  const std::vector<float> k = {0, 0, 0, 0, static_cast<float>(std::log(2.0)), 0};
  const std::vector<float> v = {1, 10, 2, 20, 3, 30};
  const std::vector<SlotRef> slots = {{1, 0}, {1, 1}, {0, 0}};
  ref->AppendKv({k.data(), v.data(), 2, slots, pool, region});
  const std::vector<float> q = {1, 1};
  const std::vector<PagedRow> rows = {{0, 3, 2}};
  const std::vector<int32_t> pages = {1, 0};
  const std::vector<uint32_t> heads = {1, 0};  // KV head 0 serves query head 1
  const std::vector<uint32_t> begin = {0, 1, 2};
  std::vector<float> out(2);
  ref->PagedAttention({.q = q.data(),
                       .q_stride = 2,
                       .rows = rows,
                       .pages = pages,
                       .pool = pool,
                       .region = region,
                       .groups = {heads, begin},
                       .bias = {},
                       .out = {out.data(), DType::kF32, 1, 2}});
  EXPECT_FLOAT_EQ(out[1], 0.25f * 1 + 0.25f * 2 + 0.5f * 3);
  EXPECT_FLOAT_EQ(out[0], 20.0f);
}

}  // namespace
}  // namespace precis
