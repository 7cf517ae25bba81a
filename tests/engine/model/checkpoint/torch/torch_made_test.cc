// Files that torch.save itself wrote (make_torch_files.py) against the same tensors as safetensors.
#include "tests/engine/model/checkpoint/torch/torch_testing.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ReadAll;

const std::string kMade = "tests/engine/model/checkpoint/torch/made";

class TorchMade : public testing::TorchFileTest {
 protected:
  std::unique_ptr<Checkpoint> OpenedIn(const std::string& folder) {
    auto checkpoint = Checkpoint::Open(folder);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? std::move(checkpoint).value() : nullptr;
  }
  // Names, types, shapes, bytes and with them the fingerprint.
  void ExpectAsExpected(Checkpoint& made) {
    dir_.Write("safe/model.safetensors", ReadAll(kMade + "/expected.safetensors"));
    const auto expected = OpenedIn(dir_ / "safe");
    ASSERT_NE(expected, nullptr);
    ASSERT_EQ(made.names(), expected->names());
    EXPECT_GE(made.names().size(), 22u);
    size_t read = 0;
    for (const std::string& name : made.names()) {
      const TensorEntry* const entry = *made.Stored(name);
      const TensorEntry* const wanted = *expected->Stored(name);
      EXPECT_EQ(entry->dtype_name, wanted->dtype_name) << name;
      ASSERT_EQ(entry->shape, wanted->shape) << name;
      const auto values = made.Read(name, entry->shape);
      if (wanted->dtype == StoredType::kOther) {
        EXPECT_THAT(std::string(values.status().message()), HasSubstr("is not served"));
        continue;
      }
      ASSERT_TRUE(values.ok()) << values.status();
      EXPECT_EQ(*values, *expected->Read(name, wanted->shape)) << name;
      ++read;
    }
    EXPECT_EQ(read, 14u);
    EXPECT_EQ(*made.Fingerprint(), *expected->Fingerprint());
  }
};

TEST_F(TorchMade, BothFormatsAndTheirProtocolsAreTheSafetensors) {
  for (const char* file : {"zip", "zip_protocol_5", "legacy", "legacy_protocol_4"}) {
    SCOPED_TRACE(file);
    const auto made = Opened(ReadAll(kMade + "/" + file + ".bin"));
    ASSERT_NE(made, nullptr);
    ExpectAsExpected(*made);
    EXPECT_TRUE(*made->Same("shared.weight", "lm_head.weight"));
  }
}

TEST_F(TorchMade, ShardsAreOne) {
  const auto made = OpenedIn(kMade + "/sharded");
  ASSERT_NE(made, nullptr);
  ExpectAsExpected(*made);
  EXPECT_THAT(made->files(), ::testing::ElementsAre("pytorch_model.bin.index.json",
                                                    "pytorch_model-00001-of-00002.bin",
                                                    "pytorch_model-00002-of-00002.bin"));
}

TEST_F(TorchMade, AModulesOwnStateDict) {
  const auto made = Opened(ReadAll(kMade + "/module.bin"));
  ASSERT_NE(made, nullptr);
  EXPECT_TRUE(made->Read("weight", {2, 3}).ok());
  EXPECT_TRUE(made->Read("bias", {2}).ok());
}

TEST_F(TorchMade, WhatIsNoStateDictSaysWhatItIs) {
  EXPECT_THAT(Refusal(ReadAll(kMade + "/training.bin")), HasSubstr("epoch: is a number"));
  EXPECT_THAT(Refusal(ReadAll(kMade + "/training_legacy.bin")),
              HasSubstr("state_dict: is a dict, not a tensor (a training checkpoint?)"));
  EXPECT_THAT(Refusal(ReadAll(kMade + "/list.bin")), HasSubstr("holds a list; only a state dict"));
  EXPECT_THAT(Refusal(ReadAll(kMade + "/script.bin")), HasSubstr("torch.jit.save?"));
}

TEST_F(TorchMade, SafetensorsGoFirstAsInTransformers) {
  const std::string safe = testing::SafetensorsBytes({{"a", testing::Filled({1}, 1)}});
  const std::string torch = ReadAll(kMade + "/module.bin");
  const auto names = [&] { return OpenedIn(dir_.path())->names(); };
  dir_.Write("pytorch_model.bin.index.json", R"({"weight_map": {"bias": "one.bin"}})");
  dir_.Write("one.bin", torch);
  EXPECT_EQ(names(), std::vector<std::string>({"bias"}));
  WriteModel(torch);
  EXPECT_EQ(names(), std::vector<std::string>({"bias", "weight"}));
  dir_.Write("model.safetensors.index.json", R"({"weight_map": {"a": "one.safetensors"}})");
  dir_.Write("one.safetensors", safe);
  EXPECT_EQ(names(), std::vector<std::string>({"a"}));
  dir_.Write("model.safetensors", testing::SafetensorsBytes({{"b", testing::Filled({1}, 1)}}));
  EXPECT_EQ(names(), std::vector<std::string>({"b"}));
}

TEST_F(TorchMade, AnIndexNamesOnlyWhatIsThere) {
  dir_.Write("pytorch_model.bin.index.json", R"({"weight_map": {"bias": "none.bin"}})");
  const auto missing = Checkpoint::Open(dir_.path());
  EXPECT_THAT(std::string(missing.status().message()),
              AllOf(HasSubstr("pytorch_model.bin.index.json: "), HasSubstr("none.bin: No such")));
  dir_.Write("one.bin", ReadAll(kMade + "/module.bin"));
  dir_.Write("pytorch_model.bin.index.json", R"({"weight_map": {"other": "one.bin"}})");
  const auto lacks = Checkpoint::Open(dir_.path());
  EXPECT_THAT(std::string(lacks.status().message()), HasSubstr("other: is not in "));
}

}  // namespace
}  // namespace precis
