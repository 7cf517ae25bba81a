// The encoder's work for one document as a list of items, in the only order that is right: layer by
// layer, and in each layer first K and V of all rows, then attention and feed-forward of all rows;
// at the end the cross-attention K and V of every decoder layer. Rows are cut into slices.
// Both the scheduler (cost) and the runner (work) read this list; neither stores it.
#pragma once

#include <cstdint>

namespace precis {

struct EncodeShape {
  uint32_t encoder_layers = 0;
  uint32_t decoder_layers = 0;
  uint32_t slice_rows = 256;  // at least 64
};

enum class EncodeStage : uint8_t {
  kQkv,        // norm, then Q, K and V of the rows
  kAttention,  // attention against all keys, output projection, feed-forward; in the last layer the
               // final norm as well
  kCross,      // cross-attention K and V of one decoder layer, into the pages
};

struct EncodeItem {
  EncodeStage stage;
  uint32_t layer;
  uint32_t row_begin;
  uint32_t row_end;
};

// How many items a document of `tokens` tokens has.
uint32_t NumEncodeItems(const EncodeShape& shape, uint32_t tokens);
EncodeItem EncodeItemAt(const EncodeShape& shape, uint32_t tokens, uint32_t index);

// Predicted microseconds, linear in rows and in rows x keys; fitted at load by the runner.
struct EncodeCosts {
  double qkv_us_per_row = 1;
  double attention_us_per_row = 1;
  double attention_us_per_row_key = 0;
  double cross_us_per_row = 1;
};
double PredictMicroseconds(const EncodeCosts& costs, const EncodeItem& item, uint32_t tokens);
// The sum over all items of a document.
double PredictDocumentMicroseconds(const EncodeShape& shape, const EncodeCosts& costs,
                                   uint32_t tokens);

}  // namespace precis
