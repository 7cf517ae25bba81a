// What people give for --model, and the one line that each of them gets.
#include "engine/model/checkpoint/directory_kind.h"

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TempDir;

constexpr char kLfs[] =
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 307867048\n";
constexpr char kCommit[] = "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab";

class DirectoryKind : public ::testing::Test {
 protected:
  // The line about `name` in the folder of the test, or about a path as it stands.
  std::string Line(const std::string& path) {
    const Status status = CheckModelDirectory(path);
    EXPECT_FALSE(status.ok()) << path;
    const std::string message(status.message());
    EXPECT_EQ(message.rfind(path, 0), 0u) << "begins with the path: " << message;
    EXPECT_THAT(message, Not(HasSubstr("\n")));
    return message;
  }
  void WriteModel(const std::string& folder) {
    dir_.Write(folder + "/config.json", "{}");
    dir_.Write(folder + "/model.safetensors", std::string(8, '\0'));
  }

  TempDir dir_;
};

TEST_F(DirectoryKind, ACheckpointIsWhatIsWanted) {
  WriteModel("mine");
  EXPECT_TRUE(CheckModelDirectory(dir_ / "mine").ok());
  for (const char* weights :
       {"model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    const std::string folder = std::string("with_") + weights;
    dir_.Write(folder + "/config.json", "{}");
    dir_.Write(folder + "/" + weights, "x");
    EXPECT_TRUE(CheckModelDirectory(dir_ / folder).ok()) << weights;
  }
  EXPECT_TRUE(CheckModelDirectory("models/demo").ok()) << CheckModelDirectory("models/demo");
  EXPECT_TRUE(CheckModelDirectory("models/demo/").ok());
}

TEST_F(DirectoryKind, AHubIdIsToBeDownloaded) {
  EXPECT_THAT(Line("google/flan-t5-small"),
              AllOf(HasSubstr("no such directory"),
                    HasSubstr("hf download google/flan-t5-small --local-dir flan-t5-small")));
  EXPECT_THAT(Line("t5-small"), HasSubstr("hf download t5-small --local-dir t5-small"));
  EXPECT_THAT(Line("https://huggingface.co/t5-small"), HasSubstr("download the model first"));
}

TEST_F(DirectoryKind, AMissingPathIsSaidToBeMissing) {
  EXPECT_THAT(Line(dir_ / "nowhere"), AllOf(HasSubstr("no such directory"), Not(HasSubstr("hub"))));
  EXPECT_THAT(Line("models/dmeo"), Not(HasSubstr("hub")));
}

TEST_F(DirectoryKind, AnEmptyDirectoryMayBeAVolumeThatIsMissing) {
  std::filesystem::create_directory(dir_ / "model");
  EXPECT_THAT(Line(dir_ / "model"), HasSubstr("is empty"));
}

TEST_F(DirectoryKind, AFileIsNamedByWhatItHolds) {
  dir_.Write("m.gguf", "GGUF\x03");
  dir_.Write("renamed", "GGUF\x03");
  dir_.Write("model.safetensors", "x");
  dir_.Write("config.json", "{}");
  dir_.Write("model.tar.gz", "\x1f\x8b\x08");
  dir_.Write("pytorch_model.bin", "PK");
  dir_.Write("notes.txt", "hello");
  EXPECT_THAT(Line(dir_ / "m.gguf"), HasSubstr("is a GGUF file"));
  EXPECT_THAT(Line(dir_ / "renamed"), HasSubstr("is a GGUF file"));
  for (const char* name : {"model.safetensors", "config.json", "pytorch_model.bin"}) {
    EXPECT_THAT(Line(dir_ / name), HasSubstr("give its directory, " + dir_.path()));
  }
  EXPECT_THAT(Line(dir_ / "model.tar.gz"), HasSubstr("is an archive; unpack it"));
  dir_.Write("consolidated.pth", "PK");
  EXPECT_THAT(Line(dir_ / "consolidated.pth"), HasSubstr("is PyTorch weights"));
  EXPECT_THAT(Line(dir_ / "notes.txt"), HasSubstr("is a file, not the directory"));
}

TEST_F(DirectoryKind, AnAdapterNamesTheModelThatItNeeds) {
  dir_.Write("lora/adapter_config.json",
             R"({"peft_type": "LORA", "base_model_name_or_path": "google/flan-t5-base"})");
  dir_.Write("lora/adapter_model.safetensors", "x");
  EXPECT_THAT(Line(dir_ / "lora"), AllOf(HasSubstr("is a PEFT adapter of google/flan-t5-base"),
                                         HasSubstr("merge_and_unload()")));
  WriteModel("both");  // transformers would load the base and apply the adapter
  dir_.Write("both/adapter_config.json", "not JSON");
  EXPECT_THAT(Line(dir_ / "both"), HasSubstr("is a PEFT adapter, which is not applied"));
}

TEST_F(DirectoryKind, AFolderOfTheHubsCacheNamesItsSnapshot) {
  const std::string folder = dir_ / "models--google--flan-t5-small";
  dir_.Write("models--google--flan-t5-small/blobs/x", "");
  std::filesystem::create_directories(folder + "/snapshots");
  EXPECT_THAT(Line(folder), HasSubstr("the download did not end"));
  WriteModel(std::string("models--google--flan-t5-small/snapshots/") + kCommit);
  EXPECT_THAT(Line(folder), HasSubstr("give its snapshot, " + folder + "/snapshots/" + kCommit));
  WriteModel("models--google--flan-t5-small/snapshots/aaaa");
  EXPECT_THAT(Line(folder), HasSubstr("one of its 2 snapshots"));
  dir_.Write("models--google--flan-t5-small/refs/main", std::string(kCommit) + "\n");
  EXPECT_THAT(Line(folder), HasSubstr("give its snapshot, " + folder + "/snapshots/" + kCommit));
  EXPECT_THAT(Line(dir_.path()), HasSubstr("is the Hugging Face cache itself"));
  EXPECT_TRUE(CheckModelDirectory(folder + "/snapshots/" + kCommit).ok());
}

TEST_F(DirectoryKind, ASnapshotWithoutItsBlobsIsSaid) {
  dir_.Write("snapshot/model.safetensors", "x");
  std::filesystem::create_symlink("../../blobs/abc", dir_ / "snapshot/config.json");
  EXPECT_THAT(Line(dir_ / "snapshot"), HasSubstr("config.json"));
  const Status file = CheckRealFile(dir_ / "snapshot/config.json");
  EXPECT_THAT(std::string(file.message()),
              AllOf(HasSubstr("is a link to ../../blobs/abc, which is missing"),
                    HasSubstr("the folder blobs")));
}

TEST_F(DirectoryKind, AGitLfsPointerIsNotTheFile) {
  for (const char* name : {"model.safetensors", "spiece.model", "tokenizer.json"}) {
    SCOPED_TRACE(name);
    const std::string folder = std::string("cloned_for_") + name;
    WriteModel(folder);
    dir_.Write(folder + "/" + name, kLfs);
    EXPECT_THAT(Line(dir_ / folder), AllOf(HasSubstr(name), HasSubstr("is a git-LFS pointer"),
                                           HasSubstr("git lfs pull")));
  }
}

TEST_F(DirectoryKind, APointerMattersWhereTheFileIsRead) {
  const std::string shard = "pytorch_model-00001-of-00002.bin";
  dir_.Write("bins/config.json", "{}");
  dir_.Write("bins/pytorch_model.bin.index.json", "{}");
  dir_.Write("bins/" + shard, kLfs);
  EXPECT_THAT(Line(dir_ / "bins"), AllOf(HasSubstr(shard), HasSubstr("is a git-LFS pointer")));
  WriteModel("both");  // pytorch_model.bin beside safetensors is not read
  dir_.Write("both/pytorch_model.bin", kLfs);
  EXPECT_TRUE(CheckModelDirectory(dir_ / "both").ok()) << CheckModelDirectory(dir_ / "both");
}

TEST_F(DirectoryKind, WeightsOfOtherFrameworksAreNamed) {
  const std::pair<const char*, const char*> cases[] = {{"tf_model.h5", "TensorFlow weights"},
                                                       {"flax_model.msgpack", "Flax weights"},
                                                       {"model.onnx", "an ONNX model"},
                                                       {"training_args.bin", "PyTorch weights"},
                                                       {"t5.Q4_K_M.gguf", "a GGUF file"}};
  for (const auto& [name, said] : cases) {
    SCOPED_TRACE(name);
    const std::string folder = std::string("of_") + name;
    dir_.Write(folder + "/config.json", "{}");
    dir_.Write(folder + "/" + name, "x");
    EXPECT_THAT(Line(dir_ / folder), AllOf(HasSubstr(name), HasSubstr(said)));
  }
  dir_.Write("shards/config.json", "{}");
  dir_.Write("shards/model-00001-of-00002.safetensors", "x");
  EXPECT_THAT(Line(dir_ / "shards"), HasSubstr("get the index as well"));
  dir_.Write("bins/config.json", "{}");
  dir_.Write("bins/pytorch_model-00001-of-00002.bin", "x");
  EXPECT_THAT(Line(dir_ / "bins"), HasSubstr("get the index as well"));
  dir_.Write("variant/config.json", "{}");
  dir_.Write("variant/pytorch_model.fp16.bin", "x");
  EXPECT_THAT(Line(dir_ / "variant"), HasSubstr("name it pytorch_model.bin"));
}

TEST_F(DirectoryKind, ACheckpointInAFolderBelowIsPointedAt) {
  WriteModel("run/checkpoint-500");
  EXPECT_THAT(Line(dir_ / "run"), HasSubstr("give " + (dir_ / "run/checkpoint-500")));
  dir_.Write("ggufs/t5.gguf", "GGUF");
  EXPECT_THAT(Line(dir_ / "ggufs"), AllOf(HasSubstr("t5.gguf"), HasSubstr("a GGUF file")));
  dir_.Write("photos/a.jpg", "x");
  EXPECT_THAT(Line(dir_ / "photos"), AllOf(HasSubstr("no config.json"), HasSubstr("a.jpg")));
}

}  // namespace
}  // namespace precis
