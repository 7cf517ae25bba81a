#include "common/log.h"

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace precis {
namespace {

using Json = nlohmann::json;

// What a log collector reads back.
Json ParseString(const std::string& inside) {
  return Json::parse("\"" + inside + "\"", nullptr, /*allow_exceptions=*/false);
}

TEST(JsonEscape, LeavesPlainTextAlone) {
  EXPECT_EQ(JsonEscape(""), "");
  EXPECT_EQ(JsonEscape("request 12 took 3 ms (ok) [a/b]"), "request 12 took 3 ms (ok) [a/b]");
}

TEST(JsonEscape, EscapesQuotesBackslashesAndControlCharacters) {
  EXPECT_EQ(JsonEscape("a\"b\\c"), "a\\\"b\\\\c");
  EXPECT_EQ(JsonEscape("1\n2\r3\t4"), "1\\n2\\r3\\t4");
  EXPECT_EQ(JsonEscape(std::string("\0\x01\x1b", 3)), "\\u0000\\u0001\\u001b");
}

TEST(JsonEscape, KeepsUtf8) { EXPECT_EQ(JsonEscape("Größe 漢字 🙂"), "Größe 漢字 🙂"); }

TEST(JsonEscape, BrokenUtf8BecomesTheReplacementCharacter) {
  EXPECT_EQ(JsonEscape("a\xff(\xc3("), "a\uFFFD(\uFFFD(");
}

TEST(JsonEscape, EveryAsciiCharacterIsReadBackAsItself) {
  for (int c = 0; c < 0x80; ++c) {
    const std::string text(1, static_cast<char>(c));
    const Json parsed = ParseString(JsonEscape(text));
    ASSERT_TRUE(parsed.is_string()) << "character " << c;
    EXPECT_EQ(parsed.get<std::string>(), text) << "character " << c;
  }
}

// What ConfigureLog has set is global: each test sets it, this puts it back.
class LogTest : public testing::Test {
 protected:
  void SetUp() override { before_ = spdlog::default_logger(); }
  void TearDown() override { spdlog::set_default_logger(before_); }

  // Lines written to stderr by `act`.
  template <typename Act>
  static std::vector<std::string> Lines(const LogOptions& options, Act act) {
    testing::internal::CaptureStderr();
    EXPECT_TRUE(ConfigureLog(options).ok());
    act();
    spdlog::default_logger()->flush();
    std::istringstream text(testing::internal::GetCapturedStderr());
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

 private:
  std::shared_ptr<spdlog::logger> before_;
};

TEST_F(LogTest, RefusesAnUnknownLevelByName) {
  const Status status = ConfigureLog({.level = "loud", .json = false});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("'loud'"), absl::string_view::npos);
}

TEST_F(LogTest, WritesTheLevelsFromItsOwnUp) {
  const auto lines = Lines({.level = "warn", .json = false}, [] {
    spdlog::info("below");
    spdlog::warn("at");
    spdlog::error("above");
  });
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find(" W at"), std::string::npos);
  EXPECT_NE(lines[1].find(" E above"), std::string::npos);
}

TEST_F(LogTest, OffWritesNothing) {
  EXPECT_TRUE(Lines({.level = "off", .json = false}, [] { spdlog::critical("x"); }).empty());
}

TEST_F(LogTest, WritesOneJsonObjectALineWhateverTheMessage) {
  const std::vector<std::string> messages = {"plain", "two\nlines", R"({"a": "b\c"})", "100 %v %*",
                                             "Größe"};
  const auto lines = Lines({.level = "info", .json = true}, [&] {
    for (const std::string& message : messages) spdlog::info("{}", message);
  });
  ASSERT_EQ(lines.size(), messages.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const Json line = Json::parse(lines[i], nullptr, /*allow_exceptions=*/false);
    ASSERT_TRUE(line.is_object()) << lines[i];
    EXPECT_EQ(line["message"], messages[i]);
    EXPECT_EQ(line["level"], "info");
    EXPECT_TRUE(line["time"].is_string());
  }
}

LogFields SomeFields() {
  LogFields fields;
  fields.Word("id", "r-1")
      .Milliseconds("total_ms", 12.345)
      .Count("tokens", 7)
      .Text("client", "token:\"a b\"\n");
  return fields;
}

TEST_F(LogTest, AnEventsFieldsAreWordsOfATextLine) {
  const auto lines = Lines({.level = "info", .json = false},
                           [] { LogEvent(spdlog::level::info, "request", SomeFields()); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(
      lines[0].ends_with(R"( I request id=r-1 total_ms=12.3 tokens=7 client="token:\"a b\"\n")"))
      << lines[0];
}

TEST_F(LogTest, AnEventsFieldsAreKeysOfAJsonLine) {
  const auto lines = Lines({.level = "info", .json = true}, [] {
    LogEvent(spdlog::level::info, "request", SomeFields());
    LogEvent(spdlog::level::debug, "below", SomeFields());
    // What a message says stays inside of it.
    spdlog::info("{}", R"("id":"forged")");
  });
  ASSERT_EQ(lines.size(), 2u);
  const Json event = Json::parse(lines[0], nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(event.is_object()) << lines[0];
  EXPECT_EQ(event["message"], "request");
  EXPECT_EQ(event["level"], "info");
  EXPECT_EQ(event["id"], "r-1");
  EXPECT_EQ(event["total_ms"], 12.3);
  EXPECT_EQ(event["tokens"], 7);
  EXPECT_EQ(event["client"], "token:\"a b\"\n");
  const Json forged = Json::parse(lines[1], nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(forged.is_object()) << lines[1];
  EXPECT_FALSE(forged.contains("id"));
}

TEST_F(LogTest, LosesNothingWhereTheLogIsRead) {
  Lines({.level = "info", .json = false}, [] { spdlog::info("x"); });
  EXPECT_EQ(DroppedLogLines(), 0u);
}

}  // namespace
}  // namespace precis
