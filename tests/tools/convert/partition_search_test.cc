#include "tools/convert/partition_search.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "engine/model/config/attention_variant.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/convert/head_similarity.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr size_t kValues = 24;  // of a head

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(rng);
  return values;
}

HeadDistances RandomDistances(uint32_t heads, uint32_t seed) {
  HeadDistances distances(heads);
  distances.Add(Random(heads * kValues, seed));
  distances.Add(Random(heads * kValues, seed + 100));
  return distances;
}

// Head h holds the values of head source[h].
HeadDistances Planted(const std::vector<uint32_t>& source) {
  const std::vector<float> originals = Random(source.size() * kValues, 3);
  std::vector<float> weight;
  for (const uint32_t of : source) {
    weight.insert(weight.end(), originals.begin() + of * kValues,
                  originals.begin() + (of + 1) * kValues);
  }
  HeadDistances distances(static_cast<uint32_t>(source.size()));
  distances.Add(weight);
  return distances;
}

// The least error of any partition into each number of groups, by trying all of them.
std::vector<double> LeastErrors(const HeadDistances& distances) {
  const uint32_t heads = distances.num_heads();
  std::vector<double> least(heads, std::numeric_limits<double>::infinity());
  HeadGrouping grouping;
  const std::function<void(uint32_t)> place = [&](uint32_t head) {
    if (head == heads) {
      double& best = least[grouping.groups.size() - 1];
      best = std::min(best, SharingError(distances, grouping));
      return;
    }
    for (size_t g = 0; g < grouping.groups.size(); ++g) {
      grouping.groups[g].push_back(head);
      place(head + 1);
      grouping.groups[g].pop_back();
    }
    grouping.groups.push_back({head});
    place(head + 1);
    grouping.groups.pop_back();
  };
  place(0);
  return least;
}

TEST(SharingError, IsTheSquaredDistanceToTheMeanOfTheGroup) {
  constexpr uint32_t kHeads = 4;
  const std::vector<float> weight = Random(kHeads * kValues, 1);
  HeadDistances distances(kHeads);
  distances.Add(weight);
  const std::vector<uint32_t> group = {0, 1, 3};
  double error = 0;
  for (size_t i = 0; i < kValues; ++i) {
    double mean = 0;
    for (const uint32_t h : group) mean += weight[h * kValues + i] / 3.0;
    for (const uint32_t h : group) {
      error += (weight[h * kValues + i] - mean) * (weight[h * kValues + i] - mean);
    }
  }
  EXPECT_NEAR(SharingError(distances, group), error, 1e-9);
  EXPECT_EQ(SharingError(distances, std::vector<uint32_t>{2}), 0);
  double energy = 0;
  for (const float value : weight) energy += double{value} * value;
  EXPECT_NEAR(distances.energy(), energy, 1e-9);
}

TEST(OrderBySimilarity, PairsTheMostSimilarFirst) {
  // 0 and 3 point the same way, 1 and 4 nearly, 2 is left.
  const std::vector<float> q = {1, 0, 0, 0, 1, 0, 0, 0, 1, 2, 0, 0, 0, 3, 0.1f};
  uint32_t zero_head = 0;
  EXPECT_THAT(OrderBySimilarity(q, 5, &zero_head), ElementsAre(0, 3, 1, 4, 2));
}

TEST(OrderBySimilarity, ZeroHeadIsSimilarToNothing) {
  uint32_t zero_head = 0;
  EXPECT_TRUE(OrderBySimilarity(std::vector<float>{1, 0, 0, 0, 0, 1}, 3, &zero_head).empty());
  EXPECT_EQ(zero_head, 1u);
}

TEST(SearchPartitions, FindsTheLeastErrorOfEverySizeOnEightHeads) {
  for (const uint32_t seed : {1u, 2u, 3u, 4u, 5u}) {
    const HeadDistances distances = RandomDistances(8, seed);
    const std::vector<double> least = LeastErrors(distances);
    const auto found = SearchPartitions(distances, {});
    ASSERT_EQ(found.size(), 8u);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i].error, least[i], 1e-9 * least[0]) << seed << " groups " << i + 1;
    }
  }
}

TEST(SearchPartitions, FindsPlantedEqualHeads) {
  const auto found = SearchPartitions(Planted({0, 1, 1, 3, 4, 0, 3, 1}), {});
  EXPECT_EQ(found[3].error, 0);
  EXPECT_THAT(found[3].grouping.groups,
              UnorderedElementsAre(UnorderedElementsAre(0, 5), UnorderedElementsAre(1, 2, 7),
                                   UnorderedElementsAre(3, 6), UnorderedElementsAre(4)));
  EXPECT_GT(found[2].error, 0);
}

TEST(SearchPartitions, EvolutionBeatsNeighboursAndMerging) {
  constexpr uint32_t kHeads = 16;
  double founders = 0;
  double evolved = 0;
  for (const uint32_t seed : {1u, 2u, 3u}) {
    const HeadDistances distances = RandomDistances(kHeads, seed);
    SearchOptions none;
    none.generations = 0;
    const auto first = SearchPartitions(distances, none);
    const auto found = SearchPartitions(distances, {});
    for (uint32_t groups = 1; groups <= kHeads; ++groups) {
      const double neighbours = SharingError(distances, NeighbouringHeads(kHeads, groups));
      EXPECT_LE(found[groups - 1].error, neighbours) << groups;
      EXPECT_LE(found[groups - 1].error, first[groups - 1].error) << groups;
      founders += first[groups - 1].error;
      evolved += found[groups - 1].error;
    }
  }
  EXPECT_LT(evolved, founders);
}

TEST(SearchPartitions, EveryResultIsAPartitionAndErrorsFallWithGroups) {
  for (const uint32_t heads : {1u, 2u, 7u, 12u}) {
    const HeadDistances distances = RandomDistances(heads, 9);
    const auto found = SearchPartitions(distances, {.population = 0, .generations = 5, .seed = 2});
    for (uint32_t groups = 1; groups <= heads; ++groups) {
      const FoundPartition& one = found[groups - 1];
      ASSERT_EQ(one.grouping.groups.size(), groups);
      std::vector<uint32_t> all;
      for (const auto& group : one.grouping.groups) {
        ASSERT_FALSE(group.empty());
        all.insert(all.end(), group.begin(), group.end());
      }
      std::ranges::sort(all);
      ASSERT_EQ(all.size(), heads);
      for (uint32_t h = 0; h < heads; ++h) ASSERT_EQ(all[h], h);
      EXPECT_EQ(one.error, SharingError(distances, one.grouping));
      if (groups > 1) {
        EXPECT_LE(one.error, found[groups - 2].error);
      }
    }
    EXPECT_EQ(found.back().error, 0);
  }
}

TEST(SearchPartitions, SameSeedFindsTheSame) {
  const HeadDistances distances = RandomDistances(16, 4);
  const auto a = SearchPartitions(distances, {});
  const auto b = SearchPartitions(distances, {});
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].grouping.groups, b[i].grouping.groups);
}

TEST(NeighbouringHeads, AreAsEqualAsPossible) {
  EXPECT_THAT(NeighbouringHeads(7, 3).groups,
              ElementsAre(ElementsAre(0, 1, 2), ElementsAre(3, 4), ElementsAre(5, 6)));
}

}  // namespace
}  // namespace precis
