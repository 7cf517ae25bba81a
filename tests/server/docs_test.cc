// The documents say what the program says: metrics, options, errors.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "server/config_table.h"
#include "server/engine_collector.h"
#include "server/errors.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// First group of every match.
std::set<std::string> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::set<std::string> out;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end; ++it) {
    out.insert((*it)[1].str());
  }
  return out;
}

TEST(Docs, EveryMetricIsDocumentedAndNoOther) {
  TestServer server;
  std::set<std::string> exported;
  for (const auto& family : server.server().metrics().registry()->Collect()) {
    exported.insert(family.name);
  }
  const EngineCollector collector(server.engine(), server.server().core().admission);
  for (const auto& family : collector.Collect()) exported.insert(family.name);
  EXPECT_EQ(Matches(ReadFile("docs/metrics.md"), "\\| `(precis_[a-z_]+)"), exported);
}

TEST(Docs, EveryOptionIsDocumentedWithItsDefault) {
  const std::string text = ReadFile("docs/server.md");
  std::set<std::string> keys;
  for (const ConfigRow& row : ConfigTable()) {
    keys.insert(row.key);
    const std::string value = row.get(ServerOptions());
    const std::string line =
        "| `--" + row.key + "` | " + (value.empty() ? "" : "`" + value + "`") + " |";
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(Matches(text, "\\n\\| `--([a-z-]+)` \\|"), keys);
}

TEST(Docs, EveryOutcomeIsDocumentedWithItsCode) {
  const std::string text = ReadFile("docs/server.md");
  std::set<std::string> labels;
  for (const OutcomeRow& row : OutcomeTable()) {
    if (row.code == absl::StatusCode::kOk) continue;
    labels.insert(row.label);
    const std::string line = fmt::format("| `{}` | {} | `{}` |", row.label,
                                         absl::StatusCodeToString(row.code), row.wire_reason);
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(Matches(text, "\\n\\| `([a-z_]+)` \\| [A-Z_]+ \\|"), labels);
}

}  // namespace
}  // namespace precis
