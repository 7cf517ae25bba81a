// The kinds of ops that work on one row at a time. Kernels and the descriptions of models share
// them. Values, no state.
#pragma once

#include <cstdint>

namespace precis {

enum class NormKind : uint8_t { kRms, kLayer };

enum class ActivationKind : uint8_t {
  kRelu,      // max(x, 0)
  kGelu,      // x * (1 + erf(x / sqrt(2))) / 2
  kGeluTanh,  // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2
  kSilu,      // x / (1 + exp(-x)), also called swish
};

}  // namespace precis
