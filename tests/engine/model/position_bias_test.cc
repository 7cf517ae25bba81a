#include "engine/model/position_bias.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace precis {
namespace {

// Where the bucket changes, from -2*max_distance-2 on: from tests/golden/reference.py.
struct BucketCase {
  uint32_t num_buckets;
  uint32_t max_distance;
  bool bidirectional;
  std::vector<std::pair<int64_t, uint32_t>> runs;
};

const BucketCase kCases[] = {
    {16,
     64,
     true,
     {{-130, 7},
      {-31, 6},
      {-15, 5},
      {-7, 4},
      {-3, 3},
      {-2, 2},
      {-1, 1},
      {0, 0},
      {1, 9},
      {2, 10},
      {3, 11},
      {4, 12},
      {8, 13},
      {16, 14},
      {32, 15}}},
    {16,
     64,
     false,
     {{-130, 15},
      {-49, 14},
      {-38, 13},
      {-29, 12},
      {-22, 11},
      {-17, 10},
      {-13, 9},
      {-10, 8},
      {-7, 7},
      {-6, 6},
      {-5, 5},
      {-4, 4},
      {-3, 3},
      {-2, 2},
      {-1, 1},
      {0, 0}}},
    {24, 96, true, {{-194, 11}, {-60, 10}, {-38, 9}, {-23, 8}, {-15, 7}, {-9, 6},  {-5, 5}, {-4, 4},
                    {-3, 3},    {-2, 2},   {-1, 1},  {0, 0},   {1, 13},  {2, 14},  {3, 15}, {4, 16},
                    {5, 17},    {6, 18},   {10, 19}, {16, 20}, {24, 21}, {39, 22}, {61, 23}}},
    {24, 96, false, {{-194, 23}, {-80, 22}, {-67, 21}, {-57, 20}, {-47, 19}, {-40, 18},
                     {-33, 17},  {-28, 16}, {-23, 15}, {-20, 14}, {-16, 13}, {-14, 12},
                     {-11, 11},  {-10, 10}, {-9, 9},   {-8, 8},   {-7, 7},   {-6, 6},
                     {-5, 5},    {-4, 4},   {-3, 3},   {-2, 2},   {-1, 1},   {0, 0}}},
    {32, 128, true, {{-258, 15}, {-90, 14}, {-63, 13}, {-45, 12}, {-31, 11}, {-22, 10}, {-15, 9},
                     {-11, 8},   {-7, 7},   {-6, 6},   {-5, 5},   {-4, 4},   {-3, 3},   {-2, 2},
                     {-1, 1},    {0, 0},    {1, 17},   {2, 18},   {3, 19},   {4, 20},   {5, 21},
                     {6, 22},    {7, 23},   {8, 24},   {12, 25},  {16, 26},  {23, 27},  {32, 28},
                     {46, 29},   {64, 30},  {91, 31}}},
    {32, 128, false, {{-258, 31}, {-112, 30}, {-98, 29}, {-86, 28}, {-76, 27}, {-66, 26}, {-58, 25},
                      {-51, 24},  {-45, 23},  {-39, 22}, {-34, 21}, {-30, 20}, {-26, 19}, {-23, 18},
                      {-20, 17},  {-18, 16},  {-15, 15}, {-14, 14}, {-13, 13}, {-12, 12}, {-11, 11},
                      {-10, 10},  {-9, 9},    {-8, 8},   {-7, 7},   {-6, 6},   {-5, 5},   {-4, 4},
                      {-3, 3},    {-2, 2},    {-1, 1},   {0, 0}}},
};

TEST(RelativeBucket, AgreesWithTheReference) {
  for (const BucketCase& c : kCases) {
    size_t run = 0;
    const int64_t end = 2 * int64_t{c.max_distance} + 2;
    for (int64_t relative = c.runs[0].first; relative <= end; ++relative) {
      if (run + 1 < c.runs.size() && relative == c.runs[run + 1].first) ++run;
      ASSERT_EQ(RelativeBucket(relative, c.bidirectional, c.num_buckets, c.max_distance),
                c.runs[run].second)
          << c.num_buckets << "/" << c.max_distance << " at " << relative;
    }
  }
}

TEST(RelativeBucket, StaysInTheTableAtAnyDistance) {
  for (const uint32_t buckets : {4u, 5u, 7u, 16u, 31u, 32u, 100u}) {
    for (const uint32_t max_distance : {buckets / 2 + 1, 128u, 1u << 24}) {
      for (const bool bidirectional : {false, true}) {
        uint32_t before = 0;
        for (const int64_t distance :
             {0LL, 1LL, 2LL, 50LL, 127LL, 128LL, 129LL, 1LL << 24, 1LL << 40}) {
          const uint32_t bucket = RelativeBucket(-distance, bidirectional, buckets, max_distance);
          ASSERT_LT(bucket, buckets);
          ASSERT_GE(bucket, before) << "buckets grow with the distance";
          before = bucket;
          ASSERT_LT(RelativeBucket(distance, bidirectional, buckets, max_distance), buckets);
        }
      }
    }
  }
}

TEST(RelativeBucket, SeesNoFutureInTheDecoder) {
  for (int64_t relative = 0; relative < 300; ++relative) {
    EXPECT_EQ(RelativeBucket(relative, false, 32, 128), 0u);
  }
}

TEST(ExpandBias, EqualsTheTableAtEveryPair) {
  constexpr uint32_t kHeads = 3, kBuckets = 16, kDistance = 64;
  std::vector<float> table(kBuckets * kHeads);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i) * 0.5f;
  for (const bool bidirectional : {false, true}) {
    constexpr uint32_t kLength = 90;
    const uint32_t after = bidirectional ? kLength - 1 : 0;
    const ExpandedBias bias =
        ExpandBias(table, kHeads, bidirectional, kBuckets, kDistance, kLength - 1, after);
    EXPECT_EQ(bias.stride, kLength + after);
    ASSERT_EQ(bias.values.size(), kHeads * bias.stride);
    for (int64_t query = 0; query < kLength; ++query) {
      for (int64_t key = 0; key < (bidirectional ? kLength : query + 1); ++key) {
        const uint32_t bucket = RelativeBucket(key - query, bidirectional, kBuckets, kDistance);
        for (uint32_t h = 0; h < kHeads; ++h) {
          const size_t at =
              h * bias.stride + static_cast<size_t>(static_cast<int64_t>(bias.zero) + key - query);
          ASSERT_EQ(bias.values[at], table[bucket * kHeads + h]) << query << " " << key << " " << h;
        }
      }
    }
  }
}

TEST(ExpandBias, OfOnePositionHasOneColumn) {
  const std::vector<float> table(8 * 2, 1.0f);
  const ExpandedBias bias = ExpandBias(table, 2, true, 8, 16, 0, 0);
  EXPECT_EQ(bias.stride, 1u);
  EXPECT_EQ(bias.zero, 0u);
  EXPECT_EQ(bias.values.size(), 2u);
}

}  // namespace
}  // namespace precis
