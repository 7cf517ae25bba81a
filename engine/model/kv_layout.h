// How a page is cut up: for each kind (self, cross) and decoder layer, where K and V lie. All pages
// are equal in bytes; the kinds differ in how many tokens a page holds.
//
// Owner: the runner; a value. Thread rule: const.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/status.h"
#include "kernels/ops.h"

namespace precis {

struct KvKindLayout {
  uint32_t slots = 0;            // tokens a page holds
  size_t bytes_per_token = 0;    // K, V, scales and key squares of all layers, without alignment
  size_t page_bytes = 0;         // what these slots need, alignment included
  std::vector<KvRegion> layers;  // one a decoder layer
};

struct KvLayout {
  size_t page_bytes = 0;  // a multiple of 64
  KvKindLayout self;
  KvKindLayout cross;
};

// Self pages hold 16 slots, fewer where 16 would make a page larger than 1 MB; cross pages hold
// what fits into the same bytes, at least one slot. Either number fills whole words (KvRegion)
// unless it is smaller than one. keeps_key_squares: every slot keeps them, of all layers.
KvLayout MakeKvLayout(std::span<const uint32_t> self_kv_heads,
                      std::span<const uint32_t> cross_kv_heads, uint32_t head_dim, DType dtype,
                      bool keeps_key_squares);

}  // namespace precis
