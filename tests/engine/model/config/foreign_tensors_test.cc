#include "engine/model/config/foreign_tensors.h"

#include <map>
#include <string>

#include "engine/model/families/family.h"
#include "engine/model/families/t5_common.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using testing::Filled;
using ::testing::HasSubstr;
using testing::RawTensor;

const std::string kOfT5 = "decoder.block.0.layer.0.SelfAttention.q.weight";
const std::string kOfBart = "model.decoder.layers.0.self_attn.q_proj.weight";

Status Check(const TensorNames& names, const std::string& file_name,
             const std::vector<std::string>& tensors) {
  const testing::TempDir dir;
  std::map<std::string, RawTensor> raw;
  for (const std::string& name : tensors) raw[name] = Filled({2, 2}, 1);
  dir.Write("model.safetensors", testing::SafetensorsBytes(raw));
  const auto checkpoint = Checkpoint::Open(dir.path());
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  ModelConfig config;
  config.names = names;
  config.file = "DIR/config.json";
  config.name = file_name;
  return RefuseOtherFamilies(**checkpoint, config);
}

TEST(ForeignTensors, TwoModelsInOneDirectoryAreRefused) {
  EXPECT_THAT(std::string(Check(T5Names(), "T5 v1.0", {kOfT5, kOfBart}).message()),
              AllOf(HasSubstr("model.safetensors: " + kOfBart +
                              ": is a tensor of model_type "
                              "\"bart\""),
                    HasSubstr("DIR/config.json describes T5 v1.0")));
  EXPECT_THAT(std::string(Check(BartNames(), "BART", {kOfT5, kOfBart}).message()),
              HasSubstr(kOfT5 + ": is a tensor of model_type \"t5\""));
}

TEST(ForeignTensors, TheConfigOfAnotherModelIsSeenToo) {
  EXPECT_FALSE(Check(T5Names(), "T5 v1.0", {"decoder.layers.0.self_attn.q_proj.weight"}).ok())
      << "without the base prefix";
}

TEST(ForeignTensors, OneModelIsNot) {
  EXPECT_TRUE(Check(T5Names(), "T5 v1.0", {kOfT5}).ok());
  EXPECT_TRUE(Check(Mt5Names(), "mT5", {kOfT5}).ok()) << "mT5 and T5 have the same names";
  EXPECT_TRUE(Check(BartNames(), "BART", {kOfBart, "final_logits_bias"}).ok());
}

}  // namespace
}  // namespace precis
