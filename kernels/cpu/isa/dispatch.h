// Picks a function from a HWY_EXPORT table for given targets, without Highway's process-wide
// choice: two backends may use different instruction sets.
//
// Called by the Select functions of kernels/cpu/isa/kernels.h. Thread rule: pure.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hwy/targets.h"

namespace precis {

template <typename Function, size_t kSize>
Function PickTarget(Function const (&table)[kSize], int64_t targets) {
  if (kSize == 1) return table[0];  // one target compiled: nothing to pick
  hwy::ChosenTarget chosen;
  chosen.Update(targets);
  return table[chosen.GetIndex() % kSize];
}

}  // namespace precis
