// The README's table of models is the families' table, and each row's fixtures are there.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "engine/model/families/family.h"
#include "fmt/format.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

constexpr std::string_view kBegin = "<!-- models: made of engine/model/families/family.cc -->\n";
constexpr std::string_view kEnd = "<!-- end of models -->\n";

std::vector<std::string> FixturesOf(const Family& family) {
  std::istringstream words{std::string(family.fixtures)};
  return {std::istream_iterator<std::string>(words), {}};
}

std::string Table() {
  std::string out = "| `model_type` | models | proved by |\n|---|---|---|\n";
  for (const Family& family : ServedFamilies()) {
    std::string fixtures;
    for (const std::string& name : FixturesOf(family)) {
      fixtures += fmt::format("{}[{}](tests/golden/{})", fixtures.empty() ? "" : ", ",
                              std::filesystem::path(name).filename().string(), name);
    }
    out += fmt::format("| `{}` | {} | {} |\n", family.model_type, family.models, fixtures);
  }
  return out;
}

TEST(FamilyTable, IsInTheReadme) {
  std::stringstream readme;
  readme << std::ifstream("README.md").rdbuf();
  const std::string text = readme.str();
  const size_t begin = text.find(kBegin);
  const size_t end = text.find(kEnd);
  ASSERT_TRUE(begin != std::string::npos && begin < end) << "README.md lacks " << kBegin;
  EXPECT_EQ(text.substr(begin + kBegin.size(), end - begin - kBegin.size()), Table())
      << "put into README.md between the two comments:\n"
      << Table();
}

TEST(FamilyTable, EachRowNamesFixturesOfItsFamily) {
  for (const Family& family : ServedFamilies()) {
    EXPECT_FALSE(FixturesOf(family).empty());
    for (const std::string& name : FixturesOf(family)) {
      const std::string dir = "tests/golden/" + name;
      EXPECT_TRUE(std::filesystem::exists(dir + "/golden.json")) << dir;
      const auto config = nlohmann::json::parse(std::ifstream(dir + "/config.json"));
      EXPECT_EQ(config.at("model_type").get<std::string>(), family.model_type) << dir;
    }
  }
}

}  // namespace
}  // namespace precis
