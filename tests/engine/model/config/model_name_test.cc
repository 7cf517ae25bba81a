#include "engine/model/config/model_name.h"

#include <filesystem>

#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using testing::TempDir;

std::string Name(const std::string& path, const std::string& name_or_path = "") {
  return NameFrom({.path = path, .name_or_path = name_or_path, .model_type = "t5"});
}

TEST(ModelName, IsTheDirectorys) {
  EXPECT_EQ(Name("/srv/models/demo"), "demo");
  EXPECT_EQ(Name("/srv/models/my-summarizer", "google/flan-t5-base"), "my-summarizer");
  EXPECT_EQ(Name("/srv/a name; rm -rf"), "a-name--rm--rf");
}

TEST(ModelName, IsNoHashOfTheHubsCache) {
  const std::string hash = "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab";
  EXPECT_EQ(Name("/cache/models--google--flan-t5-small/snapshots/" + hash), "flan-t5-small");
  EXPECT_EQ(Name("/cache/models--t5-small/snapshots/" + hash), "t5-small");
  EXPECT_EQ(Name("/elsewhere/" + hash, "google/flan-t5-small"), "flan-t5-small");
  EXPECT_EQ(Name("/elsewhere/" + hash), "t5");
}

TEST(ModelName, IsNoPlaceThatHoldsOneModelOrAnother) {
  for (const char* path : {"/model", "/mnt/models", "/data/Model", "/x/output", "/", ""}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(Name(path, "google/flan-t5-small"), "flan-t5-small");
    EXPECT_EQ(Name(path, "/home/alice/model/"), "t5");
    EXPECT_EQ(Name(path), "t5");
  }
  const NameSources mounted{
      .path = "/flan", .is_mount = true, .name_or_path = "t5-base", .model_type = "t5"};
  EXPECT_EQ(NameFrom(mounted), "t5-base");
}

TEST(ModelName, OfANumberedDirectoryIsItsParents) {
  EXPECT_EQ(Name("/runs/news/checkpoint-500", "t5-small"), "news");
  EXPECT_EQ(Name("/models/news/1"), "news");
  EXPECT_EQ(Name("/runs/output/checkpoint-500", "t5-small"), "t5-small");
}

TEST(ModelName, SourcesAreReadFromDirectoryConfigAndMounts) {
  const TempDir dir;
  dir.Write("a b/config.json", R"({"_name_or_path": "org/news", "model_type": "mt5"})");
  const std::string path = std::filesystem::canonical(dir / "a b").string();
  std::string escaped = path;
  escaped.replace(escaped.find(' '), 1, "\\040");
  dir.Write("mountinfo", "22 1 0:20 / / rw - ext4 /dev/a rw\n36 22 0:33 / " + escaped +
                             " ro,noatime - ext4 /dev/b rw\n");
  const NameSources mounted = ReadNameSources(dir / "a b/", dir / "mountinfo");
  EXPECT_EQ(mounted.path, path);
  EXPECT_TRUE(mounted.is_mount);
  EXPECT_EQ(NameFrom(mounted), "news");
  const NameSources plain = ReadNameSources(dir / "a b", dir / "nothing");
  EXPECT_FALSE(plain.is_mount);
  EXPECT_EQ(NameFrom(plain), "a-b");
  dir.Write("model/config.json", R"({"_name_or_path": 7, "model_type": "mt5"})");
  EXPECT_EQ(NameFrom(ReadNameSources(dir / "model", dir / "nothing")), "mt5");
}

}  // namespace
}  // namespace precis
