// A document for the encoder's attention, for tests of it on any backend.
//
// Thread rule: one test thread.
#pragma once

#include <cmath>
#include <vector>

#include "tests/kernels/kernel_testing.h"

namespace precis {

struct EncoderCase {
  uint32_t tokens;
  uint32_t heads;
  uint32_t head_dim;
  bool bias;
  DType out;
};

// One document: q, k and v in one matrix as the model has them, and its bias.
struct EncoderDocument {
  explicit EncoderDocument(const EncoderCase& document) : c(document) {
    const size_t width = size_t{c.heads} * c.head_dim;
    stride = 3 * width;
    // Scores have a deviation of about 2.
    const float scale = std::sqrt(6.0f / std::sqrt(static_cast<float>(c.head_dim)));
    qkv = RandomFloats(c.tokens * stride, 1, scale);
    bias = RandomFloats(c.heads * (2 * c.tokens - size_t{1}), 2, 2.0f);
    // What a bf16 kernel would round anyway: the scores of all kernels are then the same.
    if (c.out == DType::kBF16) {
      for (float& x : qkv) x = BF16ToF32(F32ToBF16(x));
    }
  }

  Guarded Run(Backend* backend, uint32_t begin, uint32_t rows) const {
    std::vector<std::byte> packed(EncoderPackedBytes(c.tokens, c.heads, c.head_dim));
    return Run(backend, begin, rows, packed.data(), false);
  }

  Guarded Run(Backend* backend, uint32_t begin, uint32_t rows, std::byte* packed,
              bool is_packed) const {
    const size_t width = size_t{c.heads} * c.head_dim;
    Guarded out(rows * width, c.out);
    EncoderAttentionParams p{.q = qkv.data(),
                             .k = qkv.data() + width,
                             .v = qkv.data() + 2 * width,
                             .row_stride = stride,
                             .num_keys = c.tokens,
                             .num_heads = c.heads,
                             .head_dim = c.head_dim,
                             .begin = begin,
                             .bias = {},
                             .out = out.View(rows, width),
                             .packed = packed,
                             .is_packed = is_packed};
    if (c.bias) p.bias = {bias.data(), 2 * c.tokens - size_t{1}, c.tokens - size_t{1}};
    backend->EncoderAttention(p);
    return out;
  }

  EncoderCase c;
  size_t stride;
  std::vector<float> qkv;
  std::vector<float> bias;
};

}  // namespace precis
