#include "engine/model/grouping/head_folding.h"

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "engine/model/families/t5_common.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::HasSubstr;

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(rng);
  return values;
}

TEST(FoldHeads, EqualsThePlainSumInDouble) {
  constexpr uint32_t kHeads = 6, kHeadDim = 5, kModel = 7;
  const HeadGrouping grouping{{{4, 0}, {1}, {5, 2, 3}}};
  const std::vector<float> weight = Random(kHeads * kHeadDim * kModel, 1);
  const std::pair<FoldKind, size_t> kinds[] = {{FoldKind::kMean, 0},
                                               {FoldKind::kScalar, 1},
                                               {FoldKind::kColumn, kHeadDim},
                                               {FoldKind::kRow, kModel}};
  for (const auto& [kind, per_head] : kinds) {
    const std::vector<float> w = Random(kHeads * per_head, 2);
    const std::vector<float> folded = FoldHeads(weight, kHeadDim, kModel, grouping, kind, w);
    ASSERT_EQ(folded.size(), 3u * kHeadDim * kModel);
    for (size_t g = 0; g < 3; ++g) {
      for (size_t k = 0; k < kHeadDim; ++k) {
        for (size_t d = 0; d < kModel; ++d) {
          double sum = 0;
          for (const size_t h : grouping.groups[g]) {
            double factor = 1.0 / static_cast<double>(grouping.groups[g].size());
            if (kind == FoldKind::kScalar) factor = w[h];
            if (kind == FoldKind::kColumn) factor = w[h * kHeadDim + k];
            if (kind == FoldKind::kRow) factor = w[h * kModel + d];
            sum += factor * weight[(h * kHeadDim + k) * kModel + d];
          }
          ASSERT_NEAR(folded[(g * kHeadDim + k) * kModel + d], sum, 1e-6)
              << static_cast<int>(kind) << " " << g << " " << k << " " << d;
        }
      }
    }
  }
}

// What tests/golden/reference.py holds after folding, decoder layer 1: the first and last value,
// and the sum of value[i] * (i mod 7 - 3), which no permutation of rows leaves as it is.
struct ReferenceFold {
  const char* fixture;
  bool cross;
  char which;
  size_t kv_heads;
  double first;
  double last;
  double ramp;
};

const ReferenceFold kReference[] = {
    {"t5_v10_relu_tied", false, 'k', 4, -0.0721874461, -0.102341466, -17.4492415},
    {"t5_v10_relu_tied", false, 'v', 4, 0.25480473, -0.0824256837, 26.4995421},
    {"t5_v10_relu_tied", true, 'k', 4, -0.0964864641, 0.0825487971, 2.60303826},
    {"t5_v10_relu_tied", true, 'v', 4, 0.111396298, -0.0567617565, 5.09198147},
    {"gqa_g2", false, 'k', 2, -0.0411560833, 0.0154859424, 0.274013791},
    {"gqa_g2", false, 'v', 2, 0.0477009527, 0.0309830569, -18.7130836},
    {"gqa_g2", true, 'k', 2, 0.0703134164, -0.121385172, -15.9669699},
    {"gqa_g2", true, 'v', 2, 0.0476117767, 0.0686877742, -4.3507887},
    {"gqa_g2_from_mha", false, 'k', 2, -0.0162678212, 0.222749576, 2.27150359},
    {"gqa_g2_from_mha", false, 'v', 2, 0.0495393313, -0.0619835071, -1.81507523},
    {"gqa_g2_from_mha", true, 'k', 2, 0.0673244372, 0.208816499, -0.449170375},
    {"gqa_g2_from_mha", true, 'v', 2, -0.066261448, 0.0362658352, 3.48185426},
    {"mqa", false, 'k', 1, 0.172126502, -0.251238376, 10.2488414},
    {"mqa", false, 'v', 1, -0.0990975127, -0.0132162748, 5.84185549},
    {"mqa", true, 'k', 1, 0.0107449433, -0.0191121008, 5.08829413},
    {"mqa", true, 'v', 1, 0.225065008, 0.125135377, -3.53934318},
    {"wgqa_g2", false, 'k', 2, 0.0512379408, 0.1762117, -9.40409814},
    {"wgqa_g2", false, 'v', 2, -0.0292220563, 0.0458965525, 4.49901744},
    {"wgqa_g2", true, 'k', 2, -0.0462298654, -0.044467628, -1.49116051},
    {"wgqa_g2", true, 'v', 2, 0.10138233, 0.255813092, -31.2247519},
    {"colwgqa_g2", false, 'k', 2, 0.0584486946, -0.031961076, -16.4734388},
    {"colwgqa_g2", false, 'v', 2, 0.261910319, -0.199256763, -11.6613497},
    {"colwgqa_g2", true, 'k', 2, 0.310917884, -0.0919090137, -10.7622942},
    {"colwgqa_g2", true, 'v', 2, -0.277273536, -0.00497797178, -0.322473962},
    {"rowwgqa_g2", false, 'k', 2, 0.0215549655, 0.187784359, 19.6663042},
    {"rowwgqa_g2", false, 'v', 2, -0.00376470387, 0.0502660088, 13.435397},
    {"rowwgqa_g2", true, 'k', 2, -0.0252941474, -0.351253241, 2.31102732},
    {"rowwgqa_g2", true, 'v', 2, 0.181253105, -0.485588789, -11.7578262},
    {"wmqa", false, 'k', 1, -0.311068356, 0.187020734, 0.626084391},
    {"wmqa", false, 'v', 1, 0.206186712, -0.108667217, -6.16691881},
    {"wmqa", true, 'k', 1, -0.0977701098, -0.205961198, -24.7977739},
    {"wmqa", true, 'v', 1, 0.082267493, -0.0421065539, -0.359058704},
    {"rand_wgqa_g4", false, 'k', 4, -0.43923232, -0.227901518, 39.9932654},
    {"rand_wgqa_g4", false, 'v', 4, 0.0343220457, -0.367051512, 27.6686724},
    {"rand_wgqa_g4", true, 'k', 4, 0.145566165, 0.203508213, -22.3954149},
    {"rand_wgqa_g4", true, 'v', 4, -0.521754265, 0.164154083, 44.0832264},
    {"simgqa_g2", false, 'k', 2, -0.0504541919, 0.0843678862, -16.8331045},
    {"simgqa_g2", false, 'v', 2, 0.0212494582, 0.160574824, -2.57103434},
    {"simgqa_g2", true, 'k', 2, -0.245099336, -0.0752260685, 6.88242415},
    {"simgqa_g2", true, 'v', 2, 0.0178797431, 0.28447479, 7.04014506},
    {"qcqa", false, 'k', 3, -0.0404865332, -0.0324492082, -22.2866992},
    {"qcqa", false, 'v', 3, 0.0483641401, -0.0629760101, -1.50008037},
    {"qcqa", true, 'k', 3, 0.0678834692, 0.160952926, 22.5957358},
    {"qcqa", true, 'v', 3, 0.0229693949, 0.111983746, -4.71143367},
};

TEST(ReadGroupedProjection, AgreesWithTheReferenceOnEveryVariant) {
  for (const ReferenceFold& r : kReference) {
    const std::string dir = std::string("tests/golden/") + r.fixture;
    const auto config = LoadModelConfig(dir);
    ASSERT_TRUE(config.ok()) << config.status();
    auto checkpoint = Checkpoint::Open(dir);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    const auto attention = ResolveAttention(*config, **checkpoint);
    ASSERT_TRUE(attention.ok()) << attention.status();
    const LayerGroupings groupings = Groupings(*config, *attention);
    const HeadGrouping& grouping = (r.cross ? groupings.cross : groupings.self)[1];
    const auto read = ReadGroupedProjection(**checkpoint, *config, *attention, grouping,
                                            T5Names().DecoderAttention(1, r.cross), r.which);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_EQ(grouping.groups.size(), r.kv_heads) << r.fixture;
    EXPECT_TRUE(read->bias.empty()) << "T5 has none";
    const std::vector<float>& folded = read->weight;
    ASSERT_EQ(folded.size(), r.kv_heads * config->decoder.head_dim * config->d_model);
    double ramp = 0;
    for (size_t i = 0; i < folded.size(); ++i) {
      ramp += folded[i] * (static_cast<double>(i % 7) - 3);
    }
    EXPECT_NEAR(folded.front(), r.first, 1e-6) << r.fixture;
    EXPECT_NEAR(folded.back(), r.last, 1e-6) << r.fixture;
    EXPECT_NEAR(ramp, r.ramp, 1e-4) << r.fixture << " " << r.which;
  }
}

std::string WhatWasFolded(const std::string& fixture) {
  const std::string dir = "tests/golden/" + fixture;
  const auto config = LoadModelConfig(dir);
  auto checkpoint = Checkpoint::Open(dir);
  const auto attention = ResolveAttention(*config, **checkpoint);
  const auto read = ReadGroupedProjection(**checkpoint, *config, *attention,
                                          Groupings(*config, *attention).self[0],
                                          T5Names().DecoderAttention(0, false), 'v');
  EXPECT_TRUE(read.ok()) << read.status();
  return read->what_was_folded;
}

TEST(ReadGroupedProjection, SaysWhatWasFolded) {
  EXPECT_EQ(WhatWasFolded("t5_v10_relu_tied"), "");
  EXPECT_EQ(WhatWasFolded("gqa_g2"), "");
  EXPECT_EQ(WhatWasFolded("gqa_g2_from_mha"), "4 heads into 2, mean");
  EXPECT_EQ(WhatWasFolded("wgqa_g2"), "4 heads into 2, learned weights wv1 [4, 1]");
  EXPECT_EQ(WhatWasFolded("rowwgqa_g2"), "4 heads into 2, learned weights wv1 [4, 64]");
  EXPECT_EQ(WhatWasFolded("simgqa_g2"), "4 heads into 2 by head_order, mean");
  EXPECT_EQ(WhatWasFolded("qcqa"), "8 heads into 3 by head_groups, mean");
}

// A decoder attention of two heads of size 2, d_model 3, and what goes wrong with it.
class SmallProjection : public ::testing::Test {
 protected:
  std::map<std::string, ::precis::testing::RawTensor> tensors_ = {
      {"decoder.block.0.layer.0.SelfAttention.k.weight", ::precis::testing::Filled({4, 3}, 1.0f)},
      {"decoder.block.0.layer.0.SelfAttention.wk1", ::precis::testing::Filled({2, 1}, 0.5f)},
  };

  StatusOr<std::vector<float>> Read(AttentionVariant variant, const HeadGrouping& grouping) {
    dir_.Write("model.safetensors", ::precis::testing::SafetensorsBytes(tensors_));
    ModelConfig config;
    config.names = T5Names();
    config.decoder.num_heads = 2;
    config.decoder.head_dim = 2;
    config.d_model = 3;
    config.decoder.layers = 1;
    PRECIS_ASSIGN_OR_RETURN(auto checkpoint, Checkpoint::Open(dir_.path()));
    const ResolvedAttention attention{variant, static_cast<uint32_t>(grouping.groups.size())};
    PRECIS_ASSIGN_OR_RETURN(GroupedProjection read,
                            ReadGroupedProjection(*checkpoint, config, attention, grouping,
                                                  T5Names().DecoderAttention(0, false), 'k'));
    return std::move(read.weight);
  }
  ::precis::testing::TempDir dir_;
};

TEST_F(SmallProjection, FoldsOneGroup) {
  const auto folded = Read(AttentionVariant::kWgqa, {{{0, 1}}});
  ASSERT_TRUE(folded.ok()) << folded.status();
  EXPECT_EQ(*folded, std::vector<float>(6, 1.0f));
}

TEST_F(SmallProjection, RefusesWeightsThatAreAllZeroInAGroup) {
  tensors_["decoder.block.0.layer.0.SelfAttention.wk1"] =
      ::precis::testing::Floats({2, 1}, {0.5f, 0.0f});
  EXPECT_TRUE(Read(AttentionVariant::kWgqa, {{{0, 1}}}).ok());
  const Status status = Read(AttentionVariant::kWgqa, {{{0}, {1}}}).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("decoder.block.0.layer.0.SelfAttention.wk1"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("KV head 1 are zero"));
}

TEST_F(SmallProjection, RefusesWeightsThatAreNotFinite) {
  tensors_["decoder.block.0.layer.0.SelfAttention.wk1"] =
      ::precis::testing::Floats({2, 1}, {0.5f, NAN});
  const Status status = Read(AttentionVariant::kWgqa, {{{0, 1}}}).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("decoder.block.0.layer.0.SelfAttention.wk1: value nan at index 1"));
}

TEST_F(SmallProjection, RefusesASumThatOverflows) {
  tensors_["decoder.block.0.layer.0.SelfAttention.k.weight"] =
      ::precis::testing::Filled({4, 3}, 3e38f);
  tensors_["decoder.block.0.layer.0.SelfAttention.wk1"] = ::precis::testing::Filled({2, 1}, 2.0f);
  const Status status = Read(AttentionVariant::kWgqa, {{{0, 1}}}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("folded value inf at index 0"));
}

TEST_F(SmallProjection, RefusesWeightsOfAnotherVariant) {
  const Status status = Read(AttentionVariant::kColWgqa, {{{0, 1}}}).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("shape [2, 1] in the file, [2, 2] expected"));
}

TEST_F(SmallProjection, RefusesRowsThatAreNeitherAllHeadsNorTheKvHeads) {
  for (const AttentionVariant variant :
       {AttentionVariant::kKdGqa, AttentionVariant::kDgqaDiff, AttentionVariant::kDgqaEma,
        AttentionVariant::kPgqa, AttentionVariant::kGqa}) {
    for (const int64_t rows : {2, 4}) {
      tensors_["decoder.block.0.layer.0.SelfAttention.k.weight"] =
          ::precis::testing::Filled({rows, 3}, 1.0f);
      EXPECT_TRUE(Read(variant, {{{0, 1}}}).ok());
    }
    tensors_["decoder.block.0.layer.0.SelfAttention.k.weight"] =
        ::precis::testing::Filled({3, 3}, 1.0f);
    const Status status = Read(variant, {{{0, 1}}}).status();
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("decoder.block.0.layer.0.SelfAttention.k.weight: shape [3, 3]"));
  }
}

TEST_F(SmallProjection, RefusesGroupedStorageWhereHeadsMustFold) {
  tensors_["decoder.block.0.layer.0.SelfAttention.k.weight"] =
      ::precis::testing::Filled({2, 3}, 1.0f);
  EXPECT_TRUE(Read(AttentionVariant::kGqa, {{{0, 1}}}).ok());
  const Status status = Read(AttentionVariant::kWgqa, {{{0, 1}}}).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("shape [2, 3] in the file, [4, 3] expected"));
}

}  // namespace
}  // namespace precis
