#include "engine/sched/encode_work.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

constexpr EncodeShape kShape = {.encoder_layers = 2, .decoder_layers = 3, .slice_rows = 64};

TEST(EncodeWork, CountsTwoPassesPerEncoderLayerAndOnePerDecoderLayer) {
  EXPECT_EQ(NumEncodeItems(kShape, 1), 7u);
  EXPECT_EQ(NumEncodeItems(kShape, 64), 7u);
  EXPECT_EQ(NumEncodeItems(kShape, 65), 14u);
  EXPECT_EQ(NumEncodeItems(kShape, 128), 14u);
  EXPECT_EQ(NumEncodeItems(kShape, 129), 21u);
}

struct Pass {
  EncodeStage stage;
  uint32_t layer;
};

TEST(EncodeWork, ListsAllRowsOfAPassBeforeTheNextPass) {
  constexpr Pass kPasses[] = {{EncodeStage::kQkv, 0},   {EncodeStage::kAttention, 0},
                              {EncodeStage::kQkv, 1},   {EncodeStage::kAttention, 1},
                              {EncodeStage::kCross, 0}, {EncodeStage::kCross, 1},
                              {EncodeStage::kCross, 2}};
  for (const uint32_t tokens : {1u, 63u, 64u, 65u, 127u, 128u, 200u}) {
    uint32_t index = 0;
    for (const Pass& pass : kPasses) {
      uint32_t row = 0;
      while (row < tokens) {
        const EncodeItem item = EncodeItemAt(kShape, tokens, index++);
        ASSERT_EQ(item.stage, pass.stage) << tokens << " tokens, item " << index - 1;
        ASSERT_EQ(item.layer, pass.layer);
        ASSERT_EQ(item.row_begin, row);
        ASSERT_GT(item.row_end, row);
        ASSERT_LE(item.row_end - row, kShape.slice_rows);
        row = item.row_end;
      }
      ASSERT_EQ(row, tokens);
    }
    EXPECT_EQ(index, NumEncodeItems(kShape, tokens));
  }
}

TEST(EncodeWork, KeepsSlicesFullExceptTheLast) {
  EXPECT_EQ(EncodeItemAt(kShape, 150, 0).row_end, 64u);
  EXPECT_EQ(EncodeItemAt(kShape, 150, 1).row_end, 128u);
  EXPECT_EQ(EncodeItemAt(kShape, 150, 2).row_end, 150u);
}

TEST(EncodeWork, PredictsCostByStageRowsAndKeys) {
  const EncodeCosts costs = {.qkv_us_per_row = 2,
                             .attention_us_per_row = 3,
                             .attention_us_per_row_key = 0.5,
                             .cross_us_per_row = 7};
  EXPECT_DOUBLE_EQ(PredictMicroseconds(costs, {EncodeStage::kQkv, 0, 64, 74}, 100), 20);
  EXPECT_DOUBLE_EQ(PredictMicroseconds(costs, {EncodeStage::kAttention, 1, 0, 10}, 100), 530);
  EXPECT_DOUBLE_EQ(PredictMicroseconds(costs, {EncodeStage::kCross, 2, 0, 10}, 100), 70);
}

TEST(EncodeWork, PredictsADocumentAsTheSumOfItsItems) {
  const EncodeCosts costs = {.qkv_us_per_row = 2,
                             .attention_us_per_row = 3,
                             .attention_us_per_row_key = 0.25,
                             .cross_us_per_row = 7};
  for (const uint32_t tokens : {1u, 64u, 65u, 500u}) {
    double sum_us = 0;
    for (uint32_t i = 0; i < NumEncodeItems(kShape, tokens); ++i) {
      sum_us += PredictMicroseconds(costs, EncodeItemAt(kShape, tokens, i), tokens);
    }
    EXPECT_DOUBLE_EQ(PredictDocumentMicroseconds(kShape, costs, tokens), sum_us);
  }
}

TEST(EncodeWorkDeathTest, RefusesAnItemPastTheEnd) {
  EXPECT_DEATH(EncodeItemAt(kShape, 64, 7), "check failed");
}

}  // namespace
}  // namespace precis
