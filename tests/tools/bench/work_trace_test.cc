// Traces: what is read, and errors that name file and line.
#include "tools/bench/work_trace.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

using testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  return std::string(ParseTrace(text, "t.csv").status().message());
}

TEST(ParseTrace, ReadsALineAnItem) {
  EXPECT_EQ(ParseTrace("# comment\n512,64\r\n\n17,8\n1,1", "t.csv").value(),
            (WorkTrace{{512, 64}, {17, 8}, {1, 1}}));
}

TEST(ParseTrace, NamesFileAndLineOfWhatIsNoItem) {
  for (const char* line : {"512", "512,", ",8", "512;8", "0,8", "512,0", "-1,8", "512,8,1",
                           "131073,1", "1,65537", "99999999999,1", " 512,8", "a,b"}) {
    EXPECT_THAT(ErrorOf(std::string("1,1\n#\n") + line + "\n2,2\n"),
                testing::StartsWith(std::string("t.csv:3: '") + line + "' is not SOURCE,NEW"));
  }
}

TEST(ParseTrace, NeedsAnItem) {
  EXPECT_EQ(ErrorOf(""), "t.csv has no line SOURCE,NEW");
  EXPECT_EQ(ErrorOf("# only\n\n"), "t.csv has no line SOURCE,NEW");
}

TEST(ReadTrace, NamesTheFileThatIsNotThere) {
  const Status status = ReadTrace("no/such.csv").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no/such.csv"));
}

TEST(DefaultTrace, IsAsItIsDescribed) {
  const WorkTrace& trace = DefaultTrace();
  ASSERT_EQ(trace.size(), 64u);
  std::vector<uint32_t> sources, news;
  for (const WorkItem& item : trace) {
    sources.push_back(item.source_tokens);
    news.push_back(item.new_tokens);
  }
  std::ranges::sort(sources);
  std::ranges::sort(news);
  EXPECT_EQ(sources[31], 92u);
  EXPECT_EQ(sources[63], 1024u);
  EXPECT_EQ(news[0], 8u);
  EXPECT_EQ(news[63], 109u);
}

TEST(Repeated, GoesRoundTheTrace) {
  EXPECT_EQ(Repeated({{1, 2}, {3, 4}}, 3), (WorkTrace{{1, 2}, {3, 4}, {1, 2}}));
}

}  // namespace
}  // namespace precis
