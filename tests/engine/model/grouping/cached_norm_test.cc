// DGQA's cached norms: read, or refused with the tensor's name.
#include "engine/model/grouping/cached_norm.h"

#include <cmath>

#include "engine/model/families/t5_common.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::Filled;
using testing::Floats;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SafetensorsBytes;
using testing::TempDir;

const std::string kPrefix = T5Names().DecoderAttention(3, /*cross=*/true);

StatusOr<std::vector<float>> Read(const TempDir& dir, AttentionVariant variant) {
  auto checkpoint = Checkpoint::Open(dir.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return ReadCachedNorm(**checkpoint, {variant, 2}, kPrefix);
}

std::string ErrorOf(const std::vector<float>& norms, int64_t heads) {
  const TempDir dir;
  dir.Write("model.safetensors",
            SafetensorsBytes({{kPrefix + "cached_norm", Floats({heads}, norms)}}));
  const auto read = Read(dir, AttentionVariant::kDgqaDiff);
  EXPECT_FALSE(read.ok());
  EXPECT_THAT(std::string(read.status().message()),
              AllOf(HasSubstr("model.safetensors: "), HasSubstr("decoder.block.3.layer.1."),
                    HasSubstr("EncDecAttention.cached_norm: ")));
  return std::string(read.status().message());
}

TEST(CachedNorm, IsReadForDgqaOnly) {
  const TempDir dir;
  dir.Write("model.safetensors",
            SafetensorsBytes({{kPrefix + "cached_norm", Floats({2}, {0.0f, 2.5f})}}));
  EXPECT_THAT(*Read(dir, AttentionVariant::kDgqaDiff), ElementsAre(0.0f, 2.5f));
  EXPECT_THAT(*Read(dir, AttentionVariant::kDgqaEma), ElementsAre(0.0f, 2.5f));
  EXPECT_THAT(*Read(dir, AttentionVariant::kKdGqa), IsEmpty());
}

TEST(CachedNorm, IsRefusedWhereItIsNoNormOfEachKvHead) {
  EXPECT_THAT(ErrorOf({1, 1, 1}, 3), HasSubstr("shape [3] in the file, [2] expected"));
  EXPECT_THAT(ErrorOf({1, -0.5f}, 2), HasSubstr("-0.5 at index 1 is negative"));
  EXPECT_THAT(ErrorOf({NAN, 1}, 2), HasSubstr("nan"));
  EXPECT_THAT(ErrorOf({1, INFINITY}, 2), HasSubstr("inf"));
}

TEST(CachedNorm, IsMissed) {
  const TempDir dir;
  dir.Write("model.safetensors", SafetensorsBytes({{"other", Filled({2}, 1)}}));
  const auto read = Read(dir, AttentionVariant::kDgqaEma);
  EXPECT_THAT(std::string(read.status().message()),
              HasSubstr("decoder.block.3.layer.1.EncDecAttention.cached_norm: tensor is missing"));
}

}  // namespace
}  // namespace precis
