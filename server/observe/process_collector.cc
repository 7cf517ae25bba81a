#include "server/observe/process_collector.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>

#include "common/log.h"
#include "server/observe/metric_families.h"

namespace precis {
namespace {

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

double SecondsOf(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// Seconds since 1970; /proc/stat says when the machine started, /proc/self/stat how long after that
// the process did.
std::optional<double> StartTime() {
  const std::string machine = ReadAll("/proc/stat");
  const size_t boot = machine.find("btime ");
  const std::string own = ReadAll("/proc/self/stat");
  const size_t name_end = own.rfind(')');  // the name before it may hold anything
  if (boot == std::string::npos || name_end == std::string::npos) return std::nullopt;
  constexpr int kStartTime = 22;  // proc(5), counted from 1; the name is the second
  std::istringstream words(own.substr(name_end + 1));
  std::string word;
  for (int i = 3; i <= kStartTime; ++i) words >> word;
  if (!words) return std::nullopt;
  const double ticks = std::stod(word) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::stod(machine.substr(boot + 6)) + ticks;
}

std::optional<double> OpenDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return std::nullopt;
  int count = -1;  // without the one of `folder`
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

}  // namespace

ProcessCollector::ProcessCollector() : start_s_(StartTime()) {}

std::vector<prometheus::MetricFamily> ProcessCollector::Collect() const {
  MetricFamilies f;
  rusage used{};
  if (getrusage(RUSAGE_SELF, &used) == 0) {
    f.Counter("process_cpu_seconds_total", "Processor time that the process has used.",
              SecondsOf(used.ru_utime) + SecondsOf(used.ru_stime));
  }
  std::istringstream memory(ReadAll("/proc/self/statm"));
  double virtual_pages = 0, resident_pages = 0;
  if (memory >> virtual_pages >> resident_pages) {
    const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
    f.Gauge("process_virtual_memory_bytes", "Addresses that the process has taken.",
            virtual_pages * page);
    f.Gauge("process_resident_memory_bytes", "Memory that the process holds.",
            resident_pages * page);
  }
  if (const auto open = OpenDescriptors()) {
    f.Gauge("process_open_fds", "Descriptors that are open.", *open);
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    f.Gauge("process_max_fds", "Most descriptors that may be open.",
            static_cast<double>(limit.rlim_cur));
  }
  if (start_s_) {
    f.Gauge("process_start_time_seconds", "When the process started, in seconds since 1970.",
            *start_s_);
  }
  f.Counter("precis_log_dropped_lines_total", "Lines of the log that were lost: nothing read them.",
            static_cast<double>(DroppedLogLines()));
  return f.Take();
}

}  // namespace precis
