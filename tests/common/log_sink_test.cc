#include "common/log_sink.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gtest/gtest.h"
#include "spdlog/details/log_msg.h"
#include "tests/support/eventually.h"

namespace precis {
namespace {

constexpr size_t kPipeBytes = 4096;

// A sink whose pipe holds little, and the other end of it.
class LogSinkTest : public testing::TestWithParam<bool> {  // whether the pipe blocks
 protected:
  LogSinkTest() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, GetParam() ? 0 : O_NONBLOCK), 0);
    read_ = fds[0], write_ = fds[1];
    fcntl(read_, F_SETFL, O_NONBLOCK);
    EXPECT_EQ(fcntl(write_, F_SETPIPE_SZ, kPipeBytes), static_cast<int>(kPipeBytes));
  }
  ~LogSinkTest() override {
    sink_.reset();
    CloseReader();
    close(write_);
  }
  void Open(size_t max_waiting_bytes) {
    sink_ = std::make_unique<LogSink>(write_, /*json=*/false, max_waiting_bytes);
    sink_->set_pattern("%v");
  }
  void CloseReader() {
    if (read_ >= 0) close(std::exchange(read_, -1));
  }
  void Log(const std::string& text) {
    sink_->log(spdlog::details::log_msg("", spdlog::level::info, text));
  }
  // Reads what there is.
  std::string Read() {
    char bytes[1 << 16];
    const ssize_t got = read(read_, bytes, sizeof(bytes));
    if (got > 0) text_.append(bytes, static_cast<size_t>(got));
    return text_;
  }
  std::vector<std::string> Lines() const {
    std::istringstream text(text_);
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  int read_ = -1, write_ = -1;
  std::unique_ptr<LogSink> sink_;
  std::string text_;
};

std::string Numbered(int i) { return fmt::format("line {} {}", i, std::string(100, '.')); }

TEST_P(LogSinkTest, WritesALineAtOnceWhereThereIsRoom) {
  Open(kMaxWaitingLogBytes);
  Log("now");
  EXPECT_EQ(Read(), "now\n") << "a crash after this loses nothing";
}

TEST_P(LogSinkTest, ASlowReaderGetsEveryLineInOrder) {
  Open(kMaxWaitingLogBytes);
  for (int i = 0; i < 1000; ++i) Log(Numbered(i));  // 25 pipes full
  const std::string last = Numbered(999) + "\n";
  ASSERT_TRUE(Eventually([&] { return Read().ends_with(last); }));
  const auto lines = Lines();
  ASSERT_EQ(lines.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(lines[static_cast<size_t>(i)], Numbered(i));
  EXPECT_EQ(sink_->dropped_lines(), 0u);
}

TEST_P(LogSinkTest, WithoutAReaderLinesAreDroppedAndCountedAndTold) {
  Open(/*max_waiting_bytes=*/10'000);
  for (int i = 0; i < 1000; ++i) Log(Numbered(i));
  const uint64_t dropped = sink_->dropped_lines();
  EXPECT_GT(dropped, 800u);
  EXPECT_LT(dropped, 1000u);
  sink_->flush();  // comes back
  const std::string told =
      fmt::format("log: {} lines were dropped so far: nothing read them\n", dropped);
  ASSERT_TRUE(Eventually([&] { return Read().ends_with(told); })) << text_;
  const auto lines = Lines();
  ASSERT_EQ(lines.size() - 1 + dropped, 1000u);
  for (size_t i = 0; i + 1 < lines.size(); ++i) EXPECT_EQ(lines[i], Numbered(static_cast<int>(i)));
  Log("after");
  ASSERT_TRUE(Eventually([&] { return Read().ends_with("after\n"); }));
  EXPECT_EQ(sink_->dropped_lines(), dropped);
}

TEST_P(LogSinkTest, ALineLongerThanThePipeArrivesWhole) {
  Open(kMaxWaitingLogBytes);
  const std::string line(3 * kPipeBytes + 17, 'x');
  Log(line);
  Log("next");
  ASSERT_TRUE(Eventually([&] { return Read().ends_with("next\n"); }));
  EXPECT_EQ(Lines(), (std::vector<std::string>{line, "next"}));
}

TEST_P(LogSinkTest, AReaderThatIsGoneCostsItsLinesAlone) {
  signal(SIGPIPE, SIG_IGN);
  Open(kMaxWaitingLogBytes);
  for (int i = 0; i < 100; ++i) Log(Numbered(i));
  CloseReader();
  Log("to nobody");
  sink_->flush();
  EXPECT_TRUE(Eventually([&] { return sink_->dropped_lines() > 50; }));
  signal(SIGPIPE, SIG_DFL);
}

TEST_P(LogSinkTest, ItsEndGivesAReaderTheLastLines) {
  Open(kMaxWaitingLogBytes);
  for (int i = 0; i < 200; ++i) Log(Numbered(i));
  const std::string last = Numbered(199) + "\n";
  std::thread reader([&] { Eventually([&] { return Read().ends_with(last); }); });
  sink_.reset();
  reader.join();
  EXPECT_EQ(Lines().size(), 200u);
}

TEST_P(LogSinkTest, ItsEndDoesNotWaitForWhoDoesNotRead) {
  Open(kMaxWaitingLogBytes);
  for (int i = 0; i < 1000; ++i) Log(Numbered(i));
  sink_.reset();  // comes back
}

INSTANTIATE_TEST_SUITE_P(Pipe, LogSinkTest, testing::Bool(),
                         [](const auto& of) { return of.param ? "Blocking" : "NonBlocking"; });

}  // namespace
}  // namespace precis
