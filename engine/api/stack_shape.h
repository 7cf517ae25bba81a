// The shape of an encoder or a decoder. A value, no state.
#pragma once

#include <cstdint>

namespace precis {

struct StackShape {
  uint32_t layers = 0;
  uint32_t num_heads = 0;
  uint32_t head_dim = 0;
  uint32_t d_ff = 0;
  uint32_t max_positions = 0;  // more tokens it cannot take; 0: no limit
};

}  // namespace precis
