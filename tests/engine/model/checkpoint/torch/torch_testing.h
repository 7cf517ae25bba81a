// What the tests of torch's files share: a directory, and one line of refusal for each bad file.
#pragma once

#include <string>

#include "engine/model/checkpoint/checkpoint.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"
#include "tests/engine/model/checkpoint/torch/torch_writer.h"

namespace precis::testing {

class TorchFileTest : public ::testing::Test {
 protected:
  void WriteModel(const std::string& bytes) { dir_.Write("pytorch_model.bin", bytes); }

  // The line about a pytorch_model.bin of these bytes.
  std::string Refusal(const std::string& bytes) {
    WriteModel(bytes);
    const auto checkpoint = Checkpoint::Open(dir_.path());
    EXPECT_FALSE(checkpoint.ok());
    const std::string message(checkpoint.status().message());
    EXPECT_EQ(message.rfind(dir_ / "pytorch_model.bin: ", 0), 0u) << message;
    EXPECT_THAT(message, ::testing::Not(::testing::HasSubstr("\n")));
    EXPECT_LT(message.size(), 600u) << message;
    return message;
  }
  // Of a zip with this pickle, and one storage "0" of 4 floats.
  std::string PickleRefusal(const std::string& pickle) {
    return Refusal(TorchZip(pickle, {{"0", FloatBytes({1, 2, 3, 4})}}));
  }
  std::unique_ptr<Checkpoint> Opened(const std::string& bytes) {
    WriteModel(bytes);
    auto checkpoint = Checkpoint::Open(dir_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? std::move(checkpoint).value() : nullptr;
  }

  TempDir dir_;
};

}  // namespace precis::testing
