#include "tools/convert/head_similarity.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "common/check.h"

namespace precis {
namespace {

// Sums over two rows with four sums side by side: one alone waits for itself at every addition.
template <typename Term>
double Sum(std::span<const float> a, std::span<const float> b, const Term& term) {
  std::array<double, 4> sums{};
  size_t i = 0;
  for (; i + 4 <= a.size(); i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) {
      sums[lane] += term(double{a[i + lane]}, double{b[i + lane]});
    }
  }
  for (; i < a.size(); ++i) sums[0] += term(double{a[i]}, double{b[i]});
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

double Dot(std::span<const float> a, std::span<const float> b) {
  return Sum(a, b, [](double x, double y) { return x * y; });
}

double SquaredDistance(std::span<const float> a, std::span<const float> b) {
  return Sum(a, b, [](double x, double y) { return (x - y) * (x - y); });
}

struct Pair {
  double similarity;
  uint32_t a;
  uint32_t b;
};

}  // namespace

void HeadDistances::Add(std::span<const float> weight) {
  PRECIS_CHECK(weight.size() % num_heads_ == 0);
  const size_t size = weight.size() / num_heads_;
  for (uint32_t a = 0; a < num_heads_; ++a) {
    const auto row = weight.subspan(a * size, size);
    energy_ += Dot(row, row);
    for (uint32_t b = a + 1; b < num_heads_; ++b) {
      const double distance = SquaredDistance(row, weight.subspan(b * size, size));
      squared_[size_t{a} * num_heads_ + b] += distance;
      squared_[size_t{b} * num_heads_ + a] += distance;
    }
  }
}

double SharingError(const HeadDistances& distances, std::span<const uint32_t> group) {
  double sum = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    for (size_t j = i + 1; j < group.size(); ++j) sum += distances.Between(group[i], group[j]);
  }
  return sum / static_cast<double>(group.size());
}

double SharingError(const HeadDistances& distances, const HeadGrouping& grouping) {
  double sum = 0;
  for (const auto& group : grouping.groups) sum += SharingError(distances, group);
  return sum;
}

std::vector<uint32_t> OrderBySimilarity(std::span<const float> q_weight, uint32_t num_heads,
                                        uint32_t* zero_head) {
  PRECIS_CHECK(num_heads > 0 && q_weight.size() % num_heads == 0);
  const size_t size = q_weight.size() / num_heads;
  const auto head = [&](uint32_t h) { return q_weight.subspan(h * size, size); };
  std::vector<double> norms;
  for (uint32_t h = 0; h < num_heads; ++h) {
    norms.push_back(std::sqrt(Dot(head(h), head(h))));
    *zero_head = h;
    if (norms.back() == 0) return {};
  }
  std::vector<Pair> pairs;
  for (uint32_t a = 0; a < num_heads; ++a) {
    for (uint32_t b = a + 1; b < num_heads; ++b) {
      pairs.push_back({Dot(head(a), head(b)) / (norms[a] * norms[b]), a, b});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& x, const Pair& y) { return x.similarity > y.similarity; });
  std::vector<uint32_t> order;
  std::vector<bool> used(num_heads, false);
  for (const Pair& pair : pairs) {
    if (used[pair.a] || used[pair.b]) continue;
    used[pair.a] = used[pair.b] = true;
    order.push_back(pair.a);
    order.push_back(pair.b);
  }
  for (uint32_t h = 0; h < num_heads; ++h) {
    if (!used[h]) order.push_back(h);
  }
  return order;
}

}  // namespace precis
