// The documents say what the program says: metrics, options, errors.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include "gtest/gtest.h"
#include "server/config/config_table.h"
#include "server/engine_collector.h"
#include "server/observe/errors.h"
#include "server/observe/process_collector.h"
#include "server/open_inference/tensors.h"
#include "tests/server/test_server.h"

namespace precis {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// The names in the first column of every table row that begins with `start`; a name ends where a
// character is none of `letters`. (No std::regex: GCC 12 warns inside it under AddressSanitizer.)
std::set<std::string> FirstColumn(const std::string& text, const std::string& start,
                                  const std::string& letters) {
  std::set<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(start, 0) != 0) continue;
    const std::string rest = line.substr(start.size());
    out.insert(rest.substr(0, rest.find_first_not_of(letters)));
  }
  return out;
}

constexpr char kSnake[] = "abcdefghijklmnopqrstuvwxyz_";
constexpr char kKebab[] = "abcdefghijklmnopqrstuvwxyz-";

TEST(Docs, EveryMetricIsDocumentedAndNoOther) {
  TestServer server;
  std::set<std::string> exported;
  for (const auto& family : server.server().metrics().registry()->Collect()) {
    exported.insert(family.name);
  }
  const ServerCore& core = server.server().core();
  const EngineCollector collector(server.engine(), core.admission, core.unread);
  for (const auto& family : collector.Collect()) exported.insert(family.name);
  for (const auto& family : ProcessCollector().Collect()) exported.insert(family.name);
  EXPECT_EQ(FirstColumn(ReadFile("docs/metrics.md"), "| `", kSnake), exported);
}

TEST(Docs, EveryMetricHasAQuestionThatItAnswers) {
  std::istringstream lines(ReadFile("docs/metrics.md"));
  size_t rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("| `precis_", 0) != 0 && line.rfind("| `process_", 0) != 0) continue;
    ++rows;
    const size_t answer = line.find(" | ", line.find(" | ") + 3);
    ASSERT_NE(answer, std::string::npos) << line;
    EXPECT_GT(line.size() - answer, 10u) << line;
  }
  EXPECT_GT(rows, 20u);
}

TEST(Docs, EveryTensorIsDocumentedWithItsDatatype) {
  const std::string text = ReadFile("docs/open_inference.md");
  std::set<std::string> names = {"timeout", "priority", "triton_enable_empty_final_response"};
  const auto check = [&](const char* name, inference::DataType type) {
    names.insert(name);
    const std::string line = fmt::format("| `{}` | {} |", name, DatatypeName(type));
    EXPECT_NE(text.find(line), std::string::npos) << line;
  };
  for (const InferInput& input : InferInputs()) check(input.name, input.type);
  for (const InferOutput& output : InferOutputs()) check(output.name, output.type);
  EXPECT_EQ(FirstColumn(text, "| `", kSnake), names);
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
  EXPECT_EQ(FirstColumn(text, "| `--", kKebab), keys);
}

TEST(Docs, EveryOutcomeIsDocumentedWithItsCode) {
  std::string text = ReadFile("docs/server.md");
  text.erase(0, text.find("\n## Errors\n") + 1);
  text.resize(std::min(text.size(), text.find("\n## ")));
  std::set<std::string> labels;
  for (const OutcomeRow& row : OutcomeTable()) {
    if (row.code == absl::StatusCode::kOk) continue;
    labels.insert(row.label);
    const std::string line = fmt::format("| `{}` | {} | `{}` |", row.label,
                                         absl::StatusCodeToString(row.code), row.wire_reason);
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
  EXPECT_EQ(FirstColumn(text, "| `", kSnake), labels);
}

}  // namespace
}  // namespace precis
