#include "engine/sched/encode_work.h"

#include <algorithm>

#include "common/check.h"

namespace precis {
namespace {

uint32_t NumSlices(const EncodeShape& shape, uint32_t tokens) {
  PRECIS_CHECK(shape.slice_rows > 0);
  return tokens / shape.slice_rows + (tokens % shape.slice_rows != 0 ? 1 : 0);
}

}  // namespace

uint32_t NumEncodeItems(const EncodeShape& shape, uint32_t tokens) {
  return (shape.encoder_layers * 2 + shape.decoder_layers) * NumSlices(shape, tokens);
}

EncodeItem EncodeItemAt(const EncodeShape& shape, uint32_t tokens, uint32_t index) {
  PRECIS_CHECK(index < NumEncodeItems(shape, tokens));
  const uint32_t slices = NumSlices(shape, tokens);
  const uint32_t pass = index / slices;  // a stage of a layer, over all rows
  EncodeItem item;
  if (pass < shape.encoder_layers * 2) {
    item.stage = pass % 2 == 0 ? EncodeStage::kQkv : EncodeStage::kAttention;
    item.layer = pass / 2;
  } else {
    item.stage = EncodeStage::kCross;
    item.layer = pass - shape.encoder_layers * 2;
  }
  item.row_begin = index % slices * shape.slice_rows;
  item.row_end = item.row_begin + std::min(shape.slice_rows, tokens - item.row_begin);
  return item;
}

double PredictMicroseconds(const EncodeCosts& costs, const EncodeItem& item, uint32_t tokens) {
  const double rows = item.row_end - item.row_begin;
  switch (item.stage) {
    case EncodeStage::kQkv:
      return rows * costs.qkv_us_per_row;
    case EncodeStage::kAttention:
      return rows * (costs.attention_us_per_row + costs.attention_us_per_row_key * tokens);
    case EncodeStage::kCross:
      return rows * costs.cross_us_per_row;
  }
  PRECIS_CHECK(false);
}

double PredictDocumentMicroseconds(const EncodeShape& shape, const EncodeCosts& costs,
                                   uint32_t tokens) {
  // Every cost is linear in the item's rows, so one item over all rows stands for a whole pass.
  const auto pass_us = [&](EncodeStage stage) {
    return PredictMicroseconds(costs, {stage, 0, 0, tokens}, tokens);
  };
  return shape.encoder_layers * (pass_us(EncodeStage::kQkv) + pass_us(EncodeStage::kAttention)) +
         shape.decoder_layers * pass_us(EncodeStage::kCross);
}

}  // namespace precis
