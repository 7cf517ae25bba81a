// Flops and bytes of each op, counted by hand.
#include "tools/bench/limit/op_cost.h"

#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

class Matrix final : public PackedMatrix {
 public:
  Matrix(size_t n, size_t k, DType dtype, bool has_bias = false)
      : n_(n), k_(k), dtype_(dtype), has_bias_(has_bias) {}
  size_t n() const override { return n_; }
  size_t k() const override { return k_; }
  DType dtype() const override { return dtype_; }
  size_t bytes() const override { return 1; }  // padding is not what a GEMM needs
  bool has_bias() const override { return has_bias_; }

 private:
  const size_t n_;
  const size_t k_;
  const DType dtype_;
  const bool has_bias_;
};

template <typename Params>
OpCost Cost(const Params& params) {
  return CostOf(OpCall(params)).value();
}

constexpr NormWeights kRms{NormKind::kRms, nullptr, nullptr, 0};
constexpr NormWeights kLayer{NormKind::kLayer, nullptr, nullptr, 0};

OpCost NormCost(const NormWeights& norm, const Activations& out, float* residual = nullptr) {
  return Cost(NormParams{nullptr, norm, out, residual});
}
OpCost ActivateCost(bool gated, const Activations& out) {
  return Cost(ActivateParams{ActivationKind::kGelu, gated, nullptr, out});
}
OpCost GemmCost(const Activations& in, const PackedMatrix& w, bool accumulate) {
  return Cost(GemmParams{in, w, accumulate, nullptr});
}

TEST(OpCost, GemmStreamsItsWeightsAndKeepsItsActivations) {
  const Matrix w(7, 5, DType::kBF16);
  const Activations in{nullptr, DType::kBF16, 3, 5};
  const OpCost cost = GemmCost(in, w, false);
  EXPECT_EQ(cost.rows, 3u);
  EXPECT_EQ(cost.dtype, DType::kBF16);
  EXPECT_EQ(cost.flops, 2u * 3 * 7 * 5);
  EXPECT_EQ(cost.streamed_bytes, 7u * 5 * 2);
  EXPECT_EQ(cost.local_bytes, 3u * 5 * 2 + 3 * 7 * 4);
  EXPECT_EQ(cost.regions, 1u);
  EXPECT_EQ(OpName(cost), "gemm 5x7");
  EXPECT_EQ(GemmCost(in, w, true).local_bytes, 3u * 5 * 2 + 2 * 3 * 7 * 4);
}

TEST(OpCost, GemmStreamsTheBiasOfItsMatrix) {
  const Activations in{nullptr, DType::kBF16, 3, 5};
  const OpCost with = GemmCost(in, Matrix(7, 5, DType::kBF16, true), false);
  const OpCost without = GemmCost(in, Matrix(7, 5, DType::kBF16), false);
  EXPECT_EQ(with.streamed_bytes, without.streamed_bytes + 7 * 4);
  EXPECT_EQ(with.local_bytes, without.local_bytes);
  EXPECT_EQ(with.flops, without.flops);
}

TEST(OpCost, GemmOfBytesReadsOneAWeight) {
  const Matrix w(7, 5, DType::kI8);
  EXPECT_EQ(GemmCost({nullptr, DType::kI8, 3, 5}, w, false).streamed_bytes, 35u);
}

TEST(OpCost, RowOpsMoveTheirRows) {
  std::vector<uint16_t> values(30);
  std::vector<float> stream(30);
  const Activations out{values.data(), DType::kBF16, 3, 10};
  const Activations nothing{nullptr, DType::kBF16, 3, 10};
  EXPECT_EQ(NormCost(kRms, out).local_bytes, 30u * 4 + 10 * 4 + 30 * 2);
  EXPECT_EQ(NormCost(kLayer, out).local_bytes, 30u * 4 + 20 * 4 + 30 * 2);
  EXPECT_EQ(NormCost(kLayer, out, stream.data()).local_bytes, 60u * 4 + 20 * 4 + 30 * 2);
  EXPECT_EQ(NormCost(kLayer, nothing, stream.data()).local_bytes, 60u * 4 + 20 * 4);
  EXPECT_EQ(ActivateCost(false, out).local_bytes, 30u * 4 + 30 * 2);
  EXPECT_EQ(ActivateCost(true, out).local_bytes, 60u * 4 + 30 * 2);
  std::vector<ScoreReduction> reductions(3);
  const OpCost reduce = Cost(
      ReduceScoresParams{.scores = nullptr, .count = 100, .first_token = 0, .rows = reductions});
  EXPECT_EQ(reduce.local_bytes, 1200u);
  const std::vector<int32_t> ids(3);
  EmbedParams embed_params{ids, nullptr, DType::kBF16, 10, nullptr};
  const OpCost embed = Cost(embed_params);
  embed_params.position_table = stream.data();
  EXPECT_EQ(Cost(embed_params).streamed_bytes, 30u * 2 + 30 * 4);
  EXPECT_EQ(embed.streamed_bytes, 30u * 2);
  EXPECT_EQ(embed.local_bytes, 30u * 4);
  for (const OpCost& cost : {NormCost(kRms, out), embed, reduce}) {
    EXPECT_EQ(cost.flops, 0u);
    EXPECT_EQ(cost.regions, 0u);
  }
}

TEST(OpCost, MakingTheRowsOfAGemmMovesNoRows) {
  const Matrix w(7, 5, DType::kBF16);
  const Activations rows{nullptr, DType::kBF16, 3, 5};
  const OpCost cost = Cost(GemmOfNormParams{nullptr, kRms, rows, w, nullptr});
  EXPECT_EQ(cost.kind, OpKind::kGemm);
  EXPECT_EQ(cost.local_bytes, (3u + 1) * 5 * 4 + 3 * 7 * 4);
  const GemmOfActivatedParams activated{ActivationKind::kSilu, true, nullptr, rows, w, nullptr};
  EXPECT_EQ(Cost(activated).local_bytes, 3u * 10 * 4 + 2 * 3 * 7 * 4);
}

TEST(OpCost, OpsThatCopyAFewScoresAreNotCounted) {
  EXPECT_FALSE(CostOf(OpCall(ExtractScoresParams{})).has_value());
  EXPECT_FALSE(CostOf(OpCall(KeepScoresParams{})).has_value());
}

TEST(OpCost, EncoderAttentionReadsEveryKey) {
  EncoderAttentionParams p{};
  p.num_keys = 9;
  p.num_heads = 2;
  p.head_dim = 8;
  p.out = {nullptr, DType::kBF16, 4, 16};
  const OpCost cost = Cost(p);
  EXPECT_EQ(cost.rows, 4u);
  EXPECT_EQ(cost.dtype, DType::kBF16);
  EXPECT_EQ(cost.flops, 2u * 2 * 4 * 9 * 16);
  EXPECT_EQ(cost.local_bytes, (4u + 9 + 9) * 16 * 4 + 4 * 16 * 2);
}

class PagedCost : public testing::Test {
 protected:
  PagedAttentionParams Params() {
    PagedAttentionParams p{};
    p.rows = rows_;
    p.region = {0, 0, 16, 2, 8, DType::kBF16};  // 2 KV heads of 8
    p.groups = {heads_, begin_};
    p.out = {nullptr, DType::kF32, rows_.size(), 32};
    return p;
  }
  const std::vector<uint32_t> heads_ = {0, 1, 2, 3};
  const std::vector<uint32_t> begin_ = {0, 2, 4};
  std::vector<PagedRow> rows_ = {{0, 20, 19}};
  const size_t token_bytes_ = 2 * 2 * 8 * 2;
};

TEST_F(PagedCost, OneRowSharesItsReadAmongTheHeadsOfAGroup) {
  const OpCost cost = Cost(Params());
  EXPECT_EQ(cost.kind, OpKind::kCrossAttention);
  EXPECT_EQ(cost.rows, 2u);
  EXPECT_EQ(cost.flops, 2u * 2 * 20 * 32);
  EXPECT_EQ(cost.streamed_bytes, 20u * token_bytes_);
  EXPECT_EQ(cost.local_bytes, 2u * 32 * 4);
}

TEST_F(PagedCost, NeighboursOfOneTableReadItOnce) {
  rows_ = {{0, 20, 19}, {0, 21, 20}, {0, 22, 21}, {5, 30, 29}};
  const OpCost cost = Cost(Params());
  EXPECT_EQ(cost.flops, 2u * 2 * (20 + 21 + 22 + 30) * 32);
  EXPECT_EQ(cost.streamed_bytes, (22u + 30) * token_bytes_);
  EXPECT_EQ(cost.rows, 4u);  // 4 rows of 4 heads over 2 tables of 2 KV heads
}

TEST_F(PagedCost, WhatIsAppendedFirstCountsAsIfOnItsOwn) {
  PagedAttentionParams p = Params();
  const std::vector<SlotRef> slots(1);
  AppendKvParams append{};
  append.slots = slots;
  append.region = p.region;
  const OpCost without = Cost(p);
  p.append = &append;
  const OpCost with = Cost(p);
  EXPECT_EQ(with.streamed_bytes - without.streamed_bytes, Cost(append).streamed_bytes);
  EXPECT_EQ(with.local_bytes - without.local_bytes, Cost(append).local_bytes);
  EXPECT_GT(with.local_bytes, without.local_bytes);
}

TEST_F(PagedCost, ABiasTellsSelfAttention) {
  PagedAttentionParams p = Params();
  const float bias = 0;
  p.bias.data = &bias;
  EXPECT_EQ(Cost(p).kind, OpKind::kSelfAttention);
}

TEST(OpCost, PagesAreWrittenAndCopied) {
  const std::vector<SlotRef> slots(3);
  AppendKvParams append{};
  append.slots = slots;
  append.region = {0, 0, 16, 2, 8, DType::kBF16};
  EXPECT_EQ(Cost(append).streamed_bytes, 3u * 2 * 2 * 8 * 2);
  EXPECT_EQ(Cost(append).local_bytes, 3u * 2 * 2 * 8 * 4);

  const std::vector<PageCopyRef> copies = {{0, 1, 4}, {2, 3, 1}};
  const std::vector<KvRegion> layers(2, append.region);
  EXPECT_EQ(Cost(CopySlotsParams{copies, {}, layers}).streamed_bytes, 2u * 5 * 2 * (2 * 2 * 8 * 2));
}

}  // namespace
}  // namespace precis
