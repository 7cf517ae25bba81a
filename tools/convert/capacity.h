// QCQA's second stage: how many KV heads each decoder layer gets of a budget for all, so that the
// weight errors sum up to the least. Exact, and for every budget at once.
// Owner: the conversion. Thread rule: const after construction.
#pragma once

#include <cstdint>
#include <vector>

namespace precis {

class CapacitySplit {
 public:
  // errors[layer][g - 1]: of the layer with g KV heads; never rise with g.
  explicit CapacitySplit(std::vector<std::vector<double>> errors);

  uint32_t least() const { return static_cast<uint32_t>(errors_.size()); }  // one a layer
  uint32_t most() const { return most_; }
  // `total` of least() to most(): KV heads of all layers together.
  double ErrorOf(uint32_t total) const { return best_.back()[total]; }
  std::vector<uint32_t> CountsOf(uint32_t total) const;

 private:
  std::vector<std::vector<double>> errors_;
  std::vector<std::vector<double>> best_;  // [layers so far][total]; infinite where impossible
  std::vector<std::vector<uint32_t>> chosen_;
  uint32_t most_ = 0;
};

}  // namespace precis
