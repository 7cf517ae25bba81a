// Files that lie, are cut or are missing: each gives one line that names file and tensor.
#include <cmath>
#include <random>

#include "engine/model/checkpoint/checkpoint.h"
#include "engine/model/checkpoint/safetensors_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using testing::Filled;
using testing::Floats;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::RawTensor;
using testing::SafetensorsBytes;
using testing::TempDir;

class BadCheckpoint : public ::testing::Test {
 protected:
  std::string OpenError() {
    const auto checkpoint = Checkpoint::Open(dir_.path());
    EXPECT_FALSE(checkpoint.ok());
    const std::string message(checkpoint.status().message());
    EXPECT_THAT(message, AllOf(HasSubstr(dir_.path()), Not(HasSubstr("\n"))));
    return message;
  }
  std::string ReadError(const std::string& name, std::initializer_list<int64_t> shape) {
    auto checkpoint = Checkpoint::Open(dir_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (!checkpoint.ok()) return "";
    const auto values = (*checkpoint)->Read(name, shape);
    EXPECT_FALSE(values.ok());
    const std::string message(values.status().message());
    EXPECT_THAT(message, AllOf(HasSubstr(dir_ / "model.safetensors: "), Not(HasSubstr("\n"))));
    return message;
  }
  void WriteModel(const std::string& bytes) { dir_.Write("model.safetensors", bytes); }
  void WriteIndex(const std::string& json) { dir_.Write("model.safetensors.index.json", json); }

  TempDir dir_;
};

TEST_F(BadCheckpoint, WithoutWeights) {
  EXPECT_THAT(OpenError(), HasSubstr("neither model.safetensors nor pytorch_model.bin"));
}

TEST_F(BadCheckpoint, TooShortForALength) {
  WriteModel("abc");
  EXPECT_THAT(OpenError(), HasSubstr("3 bytes are too few"));
  WriteModel("");
  EXPECT_THAT(OpenError(), HasSubstr("0 bytes are too few"));
}

TEST_F(BadCheckpoint, HeaderLongerThanTheFile) {
  std::string file = SafetensorsBytes({{"a", Filled({2}, 1)}});
  WriteModel(file.substr(0, 20));
  EXPECT_THAT(OpenError(), HasSubstr("truncated"));
  file.replace(0, 8, std::string(8, '\xff'));
  WriteModel(file);
  EXPECT_THAT(OpenError(), HasSubstr("header of 18446744073709551615 bytes in a file of"));
}

TEST_F(BadCheckpoint, HeaderOverTheLimit) {
  std::string file(8, '\0');
  const uint64_t header_bytes = kMaxSafetensorsHeaderBytes + 1;
  std::memcpy(file.data(), &header_bytes, sizeof(header_bytes));
  WriteModel(file);
  std::filesystem::resize_file(dir_ / "model.safetensors", 8 + header_bytes);  // sparse
  EXPECT_THAT(OpenError(), HasSubstr("header of 100000001 bytes is larger than 100000000"));
}

TEST_F(BadCheckpoint, DataCutOff) {
  const std::string file =
      SafetensorsBytes({{"first", Filled({2}, 1)}, {"second", Filled({2}, 1)}});
  WriteModel(file.substr(0, file.size() - 1));
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("model.safetensors: second: data_offsets"),
                                 HasSubstr("reach beyond the 15 bytes")));
}

TEST_F(BadCheckpoint, IsADirectory) {
  std::filesystem::create_directory(dir_ / "model.safetensors");
  EXPECT_THAT(OpenError(), HasSubstr("not a regular file"));
}

TEST_F(BadCheckpoint, CutWhileItIsOpen) {
  const std::string file = SafetensorsBytes({{"a", Filled({4}, 1)}});
  WriteModel(file);
  auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok());
  std::filesystem::resize_file(dir_ / "model.safetensors", file.size() - 4);
  const auto values = (*checkpoint)->Read("a", {4});
  EXPECT_EQ(values.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(values.status().message()),
              HasSubstr("model.safetensors: a: the file ends"));
}

TEST_F(BadCheckpoint, MissingTensor) {
  WriteModel(SafetensorsBytes({{"a", Filled({2}, 1)}}));
  EXPECT_THAT(ReadError("shared.weight", {2}),
              HasSubstr("model.safetensors: shared.weight: tensor is missing"));
}

TEST_F(BadCheckpoint, WrongShapeSaysBoth) {
  WriteModel(SafetensorsBytes({{"a", Filled({2, 3}, 1)}}));
  EXPECT_THAT(ReadError("a", {3, 2}), HasSubstr("a: shape [2, 3] in the file, [3, 2] expected"));
  EXPECT_THAT(ReadError("a", {6}), HasSubstr("a: shape [2, 3] in the file, [6] expected"));
}

TEST_F(BadCheckpoint, ValuesThatAreNotFiniteNameTheFirst) {
  std::vector<float> values(100'000, 1.0f);
  values[70'001] = -INFINITY;
  values[70'002] = NAN;
  WriteModel(
      SafetensorsBytes({{"a", Floats({100'000}, values)},
                        {"bf16", RawTensor{"BF16", {2}, std::string("\x80\x3f\xc0\x7f", 4)}},
                        {"f16", RawTensor{"F16", {2}, std::string("\x00\x3c\x00\xfc", 4)}}}));
  EXPECT_THAT(ReadError("a", {100'000}), HasSubstr("a: value -inf at index 70001 is not finite"));
  EXPECT_THAT(ReadError("bf16", {2}), HasSubstr("bf16: value nan at index 1 is not finite"));
  EXPECT_THAT(ReadError("f16", {2}), HasSubstr("f16: value -inf at index 1 is not finite"));
}

TEST_F(BadCheckpoint, TypesWeDoNotServeAreRefusedWhenRead) {
  WriteModel(SafetensorsBytes({{"a", RawTensor{"I8", {4}, "abcd"}}, {"b", Filled({1}, 1)}}));
  EXPECT_THAT(ReadError("a", {4}), HasSubstr("a: dtype I8 is not served; F32, BF16 and F16 are"));
  EXPECT_TRUE((*Checkpoint::Open(dir_.path()))->Read("b", {1}).ok());
}

TEST_F(BadCheckpoint, IndexThatNamesAMissingFile) {
  WriteIndex(R"({"weight_map": {"a": "one.safetensors"}})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("model.safetensors.index.json: "),
                                 HasSubstr("one.safetensors: No such file")));
}

TEST_F(BadCheckpoint, IndexThatNamesATensorTheFileLacks) {
  dir_.Write("one.safetensors", SafetensorsBytes({{"a", Filled({2}, 1)}}));
  WriteIndex(R"({"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}})");
  EXPECT_THAT(OpenError(), AllOf(HasSubstr("model.safetensors.index.json: b: is not in "),
                                 HasSubstr("one.safetensors")));
}

TEST_F(BadCheckpoint, IndexMayNotLeaveItsDirectory) {
  dir_.Write("inside/model.safetensors.index.json", "");
  dir_.Write("one.safetensors", SafetensorsBytes({{"a", Filled({2}, 1)}}));
  for (const char* path : {"../one.safetensors", "/etc/passwd", "sub/one.safetensors", "..", "."}) {
    dir_.Write("inside/model.safetensors.index.json",
               nlohmann::json{{"weight_map", {{"a", path}}}}.dump());
    const auto checkpoint = Checkpoint::Open(dir_ / "inside");
    ASSERT_FALSE(checkpoint.ok()) << path;
    EXPECT_THAT(std::string(checkpoint.status().message()),
                HasSubstr("index.json: a: \"" + std::string(path) + "\" is no file name"));
  }
}

TEST_F(BadCheckpoint, IndexThatIsNone) {
  WriteIndex("{}");
  EXPECT_THAT(OpenError(), HasSubstr("weight_map: is missing or no object"));
  WriteIndex("[");
  EXPECT_THAT(OpenError(), HasSubstr("not valid JSON"));
  WriteIndex(R"({"weight_map": {"a": 5}})");
  EXPECT_THAT(OpenError(), HasSubstr("a: 5 is no file name"));
  WriteIndex(R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})");
  EXPECT_THAT(OpenError(), HasSubstr("\"a\" is said twice"));
}

// Whole files with random damage, opened and read to the end: an answer, never a crash.
TEST_F(BadCheckpoint, RandomDamageIsAnErrorOrHarmless) {
  const std::string good = SafetensorsBytes({{"a", Filled({3, 2}, 1)}, {"bc", Filled({5}, 2)}});
  std::mt19937 rng(7);
  size_t refused = 0;
  for (int round = 0; round < 400; ++round) {
    std::string file = good;
    for (unsigned edits = 1 + rng() % 3; edits > 0; --edits) {
      // Half of the damage goes into the length and the first tensor's entry.
      file[rng() % (rng() % 2 == 0 ? 40 : file.size())] = static_cast<char>(rng());
    }
    if (rng() % 4 == 0) file.resize(rng() % file.size());
    WriteModel(file);
    auto checkpoint = Checkpoint::Open(dir_.path());
    if (!checkpoint.ok()) {
      ++refused;
      ASSERT_THAT(std::string(checkpoint.status().message()), HasSubstr("model.safetensors"));
      continue;
    }
    for (const std::string& name : (*checkpoint)->names()) {
      const auto values = (*checkpoint)->Read(name, *(*checkpoint)->Shape(name));
      if (!values.ok()) {
        ASSERT_THAT(std::string(values.status().message()), Not(IsEmpty()));
      }
    }
  }
  EXPECT_GT(refused, 130u);
}

}  // namespace
}  // namespace precis
