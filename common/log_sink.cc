#include "common/log_sink.h"

#include <signal.h>

#include <chrono>
#include <utility>

#include "fmt/format.h"
#include "spdlog/details/log_msg.h"
#include "spdlog/pattern_formatter.h"

namespace precis {
namespace {

constexpr std::chrono::milliseconds kTick{100};
// Of flush(): without progress, and altogether.
constexpr std::chrono::milliseconds kPatience{500};
constexpr std::chrono::seconds kFlush{2};

// A thread that takes no signal: they are for the main thread.
template <typename Run>
std::thread ThreadWithoutSignals(Run run) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(run));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

LogSink::LogSink(int fd, bool json, size_t max_waiting_bytes)
    : writer_(fd),
      json_(json),
      max_waiting_bytes_(max_waiting_bytes),
      formatter_(std::make_unique<spdlog::pattern_formatter>()) {
  thread_ = ThreadWithoutSignals([this] { Loop(); });
}

LogSink::~LogSink() {
  flush();
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  wake_.NotifyAll();
  thread_.join();
}

void LogSink::log(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  MutexLock lock(mutex_);
  formatter_->format(message, line);
  Put({line.data(), line.size()});
}

void LogSink::Put(std::string_view line) {
  if (waiting_.empty()) {
    const ssize_t wrote = writer_.WriteSome(line);
    if (wrote < 0) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    line.remove_prefix(static_cast<size_t>(wrote));
    if (line.empty()) return;
  } else if (waiting_bytes_ + line.size() > max_waiting_bytes_) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  waiting_.emplace_back(line);
  waiting_bytes_ += line.size();
  wake_.NotifyOne();
}

bool LogSink::WriteWaiting() {
  bool any = false;
  while (!waiting_.empty()) {
    std::string& line = waiting_.front();
    const ssize_t wrote = writer_.WriteSome(line);
    if (wrote < 0) {  // its reader is gone
      dropped_.fetch_add(waiting_.size(), std::memory_order_relaxed);
      waiting_.clear();
      waiting_bytes_ = 0;
      return true;
    }
    if (wrote == 0) return any;
    any = true;
    waiting_bytes_ -= static_cast<size_t>(wrote);
    written_bytes_ += static_cast<size_t>(wrote);
    if (static_cast<size_t>(wrote) < line.size()) {
      line.erase(0, static_cast<size_t>(wrote));
      return any;
    }
    waiting_.pop_front();
  }
  TellDropped();
  return any;
}

void LogSink::TellDropped() {
  const uint64_t dropped = dropped_lines();
  if (dropped == std::exchange(told_dropped_, dropped)) return;
  const std::string text =
      fmt::format("log: {} lines were dropped so far: nothing read them", dropped);
  spdlog::memory_buf_t line;
  formatter_->format(spdlog::details::log_msg("", spdlog::level::warn, text), line);
  Put({line.data(), line.size()});
}

void LogSink::Loop() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (!stop_ && waiting_.empty()) wake_.Wait(mutex_);
      if (stop_) return;
    }
    const bool room = writer_.WaitForRoom(kTick);
    MutexLock lock(mutex_);
    if (!room) continue;
    const bool any = WriteWaiting();
    written_.NotifyAll();
    // Room that is none, for whatever reason, is not asked for all the time.
    if (!any && !stop_) wake_.WaitFor(mutex_, kTick);
  }
}

void LogSink::flush() {
  const auto begin = std::chrono::steady_clock::now();
  auto progress = begin;
  MutexLock lock(mutex_);
  uint64_t written = written_bytes_;
  while (!waiting_.empty()) {
    written_.WaitFor(mutex_, kTick);
    const auto now = std::chrono::steady_clock::now();
    if (std::exchange(written, written_bytes_) != written_bytes_) progress = now;
    if (now - progress >= kPatience || now - begin >= kFlush) return;
  }
}

void LogSink::set_pattern(const std::string& pattern) {
  set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
}

void LogSink::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  MutexLock lock(mutex_);
  formatter_ = std::move(formatter);
}

}  // namespace precis
