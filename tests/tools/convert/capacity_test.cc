#include "tools/convert/capacity.h"

#include <limits>
#include <numeric>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/convert/capacity_curve.h"

namespace precis {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CapacitySplit, SplitsEveryBudgetAtTheLeastError) {
  // The second layer gains nothing from its second head, and much from its third.
  const std::vector<std::vector<double>> errors = {{9, 6, 4, 0}, {10, 10, 1, 0}, {5, 2, 1, 0}};
  const CapacitySplit split(errors);
  ASSERT_EQ(split.least(), 3u);
  ASSERT_EQ(split.most(), 12u);
  for (uint32_t total = 3; total <= 12; ++total) {
    double least = std::numeric_limits<double>::infinity();
    for (uint32_t a = 1; a <= 4; ++a) {
      for (uint32_t b = 1; b <= 4; ++b) {
        if (total < a + b + 1 || total > a + b + 4) continue;
        least = std::min(least, errors[0][a - 1] + errors[1][b - 1] + errors[2][total - a - b - 1]);
      }
    }
    EXPECT_EQ(split.ErrorOf(total), least) << total;
    const std::vector<uint32_t> counts = split.CountsOf(total);
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0u), total);
    double sum = 0;
    for (size_t layer = 0; layer < 3; ++layer) sum += errors[layer][counts[layer] - 1];
    EXPECT_EQ(sum, least) << total;
  }
  EXPECT_THAT(split.CountsOf(5), ElementsAre(1, 3, 1));
}

TEST(CapacityCurve, CsvHasALineAPointAndLeavesOutWhatGqaCannot) {
  const std::vector<CapacityPoint> curve = {{1, 64, 0.5, 0.25, 0.6, 0.3}, {1.5, 96, 0.4, 0.2}};
  EXPECT_EQ(CurveCsv(curve),
            "kv_heads,bytes_per_token,self_error,cross_error,gqa_self_error,gqa_cross_error\n"
            "1,64,0.5,0.25,0.6,0.3\n"
            "1.5,96,0.4,0.2,,\n");
}

TEST(CapacityCurve, SvgHasBothLinesTheirPointsAndTheChoice) {
  const std::vector<CapacityPoint> curve = {{1, 64, 0.5, 0.25, 0.6, 0.3}, {1.5, 96, 0.4, 0.2}};
  const std::string svg = CurveSvg(curve, 1.5);
  const auto count = [&svg](const std::string& word) {
    size_t found = 0;
    for (size_t at = svg.find(word); at != std::string::npos; at = svg.find(word, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<polyline"), 2u);
  EXPECT_EQ(count("<circle"), 2u);
  EXPECT_EQ(count("stroke-dasharray"), 1u);
  EXPECT_THAT(svg, HasSubstr("</svg>"));
}

}  // namespace
}  // namespace precis
