// How alike the heads of one attention are, by their weights. Called by the conversions that choose
// who shares a KV head. Thread rule: functions and values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/config/model_config.h"

namespace precis {

// Squared distances between heads, summed over the matrices that were added.
class HeadDistances {
 public:
  explicit HeadDistances(uint32_t num_heads)
      : num_heads_(num_heads), squared_(size_t{num_heads} * num_heads) {}

  void Add(std::span<const float> weight);  // [H * head_dim, d_model]

  uint32_t num_heads() const { return num_heads_; }
  double Between(uint32_t a, uint32_t b) const { return squared_[size_t{a} * num_heads_ + b]; }
  double energy() const { return energy_; }  // sum of squares of all weights

 private:
  uint32_t num_heads_;
  std::vector<double> squared_;  // [H, H]
  double energy_ = 0;
};

// QCQA's weight-sharing error (Joshi et al. 2024) of one group: the squared distances of its heads'
// K and V to their mean, which is the sum over its pairs divided by its size.
double SharingError(const HeadDistances& distances, std::span<const uint32_t> group);
double SharingError(const HeadDistances& distances, const HeadGrouping& grouping);

// SimGQA's order: all pairs of heads by falling cosine similarity of their W_q; a pair joins the
// order if neither head is there yet, and a head that stays alone comes last. Of equals the lower
// heads first. Empty if a head is all zero, which is like nothing: `zero_head` says which.
std::vector<uint32_t> OrderBySimilarity(std::span<const float> q_weight, uint32_t num_heads,
                                        uint32_t* zero_head);

}  // namespace precis
