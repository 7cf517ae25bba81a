// Where the lines of the log go: a descriptor that may be a pipe which no one reads. A line is
// written at once where there is room. Else it waits in memory and a thread writes it when there
// is; beyond a bound it is dropped and counted. No one who logs waits for the reader.
//
// Owner: the logger that ConfigureLog makes. Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "common/mutex.h"
#include "common/streams.h"
#include "spdlog/formatter.h"
#include "spdlog/sinks/sink.h"

namespace precis {

inline constexpr size_t kMaxWaitingLogBytes = 1u << 20;

class LogSink final : public spdlog::sinks::sink {
 public:
  // Does not own `fd`. `json`: what the formatter writes, for who asks.
  LogSink(int fd, bool json, size_t max_waiting_bytes = kMaxWaitingLogBytes);
  ~LogSink() override;  // flush()

  void log(const spdlog::details::log_msg& message) override;
  // Waits until what waits is written, but not for a reader that does not read: half a second
  // without progress, two altogether.
  void flush() override;
  void set_pattern(const std::string& pattern) override;
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

  bool json() const { return json_; }
  // Since the start. A line that says how many follows where there is room again.
  uint64_t dropped_lines() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  void Put(std::string_view line) PRECIS_REQUIRES(mutex_);
  // Of what waits, what there is room for; whether it was any.
  bool WriteWaiting() PRECIS_REQUIRES(mutex_);
  void TellDropped() PRECIS_REQUIRES(mutex_);
  void Loop();

  const StreamWriter writer_;
  const bool json_;
  const size_t max_waiting_bytes_;
  std::atomic<uint64_t> dropped_{0};
  Mutex mutex_;
  CondVar wake_;     // there is something to write, or the end
  CondVar written_;  // some of it was
  std::unique_ptr<spdlog::formatter> formatter_ PRECIS_GUARDED_BY(mutex_);
  std::deque<std::string> waiting_ PRECIS_GUARDED_BY(mutex_);  // lines; the first may be a rest
  size_t waiting_bytes_ PRECIS_GUARDED_BY(mutex_) = 0;
  uint64_t written_bytes_ PRECIS_GUARDED_BY(mutex_) = 0;  // by the thread
  uint64_t told_dropped_ PRECIS_GUARDED_BY(mutex_) = 0;
  bool stop_ PRECIS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace precis
