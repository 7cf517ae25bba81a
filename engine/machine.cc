#include "engine/machine.h"

#include <sched.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

namespace precis {
namespace {

constexpr int kMostCpus = 1 << 16;

std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

// nullopt for "max", "-1", and what is no number.
std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<uint64_t> NumberIn(const std::string& path) {
  const std::optional<std::string> line = FirstLine(path);
  return line ? Number(*line) : std::nullopt;
}

// The directories of our cgroup for one controller and of all cgroups above it. Inside a container
// the path of /proc/self/cgroup may be the host's and not exist here; the mount's root is then the
// container's own cgroup, and is always among the answers.
struct CgroupDirs {
  std::vector<std::string> v1;
  std::vector<std::string> v2;
};

std::vector<std::string> WithParents(const std::string& mount, std::string path) {
  std::vector<std::string> dirs;
  // A path of a cgroup outside our namespace begins with "/..": only the root can be seen.
  if (path.find("..") != std::string::npos) path.clear();
  while (!path.empty() && path != "/") {
    dirs.push_back(mount + path);
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  dirs.push_back(mount);
  return dirs;
}

bool HasController(const std::string& list, std::string_view controller) {
  std::istringstream names(list);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == controller) return true;
  }
  return false;
}

CgroupDirs FindCgroups(const MachineFiles& files, std::string_view controller) {
  const std::string base = files.root + "/sys/fs/cgroup";
  CgroupDirs dirs;
  std::ifstream self(files.root + "/proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {  // "hierarchy:controllers:path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      dirs.v2 = WithParents(base, path);
      const std::vector<std::string> hybrid = WithParents(base + "/unified", path);
      dirs.v2.insert(dirs.v2.end(), hybrid.begin(), hybrid.end());
    } else if (HasController(controllers, controller)) {
      dirs.v1 = WithParents(base + "/" + controllers, path);
      const std::vector<std::string> alone =
          WithParents(base + "/" + std::string(controller), path);
      dirs.v1.insert(dirs.v1.end(), alone.begin(), alone.end());
    }
  }
  return dirs;
}

std::optional<double> QuotaV2(const std::string& dir) {
  const std::optional<std::string> line = FirstLine(dir + "/cpu.max");  // "150000 100000"
  if (!line) return std::nullopt;
  const size_t space = line->find(' ');
  const std::optional<uint64_t> quota = Number(*line);
  const std::optional<uint64_t> period =
      space == std::string::npos ? std::nullopt : Number(std::string_view(*line).substr(space + 1));
  if (!quota || period.value_or(0) == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<double> QuotaV1(const std::string& dir) {
  const std::optional<uint64_t> quota = NumberIn(dir + "/cpu.cfs_quota_us");
  const std::optional<uint64_t> period = NumberIn(dir + "/cpu.cfs_period_us");
  if (!quota || period.value_or(0) == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

// CPU_COUNT of a set that grows until the kernel's mask fits: cpu_set_t ends at 1,024.
uint32_t AffinityCpus() {
  for (int cpus = 1024; cpus <= kMostCpus; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int result = ::sched_getaffinity(0, bytes, set);
    const int error = errno;
    const int count = result == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return static_cast<uint32_t>(count);
    if (result == 0 || error != EINVAL) break;
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

uint64_t MemTotalBytes(const MachineFiles& files) {
  std::ifstream file(files.root + "/proc/meminfo");
  for (std::string line; std::getline(file, line);) {  // "MemTotal:       16384 kB"
    if (!line.starts_with("MemTotal:")) continue;
    const size_t digits = line.find_first_of("0123456789");
    if (digits == std::string::npos) return 0;
    return Number(std::string_view(line).substr(digits)).value_or(0) * 1024;
  }
  return 0;
}

}  // namespace

uint32_t DetectCpus(const MachineFiles& files) {
  double cpus = files.affinity_cpus > 0 ? files.affinity_cpus : AffinityCpus();
  const CgroupDirs cgroups = FindCgroups(files, "cpu");
  for (const std::string& dir : cgroups.v2) cpus = std::min(cpus, QuotaV2(dir).value_or(cpus));
  for (const std::string& dir : cgroups.v1) cpus = std::min(cpus, QuotaV1(dir).value_or(cpus));
  return std::max(1u, static_cast<uint32_t>(cpus));
}

uint64_t DetectMemoryLimitBytes(const MachineFiles& files) {
  constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
  const uint64_t total = MemTotalBytes(files);
  uint64_t limit = total > 0 ? total : kNone;
  const auto see = [&](const std::string& path) {
    // v1 says "no limit" with a number near 2^63; then MemTotal is smaller.
    const uint64_t bytes = NumberIn(path).value_or(kNone);
    if (bytes > 0) limit = std::min(limit, bytes);
  };
  const CgroupDirs cgroups = FindCgroups(files, "memory");
  for (const std::string& dir : cgroups.v2) {
    see(dir + "/memory.max");
    see(dir + "/memory.high");  // beyond it the kernel throttles us, which is as bad
  }
  for (const std::string& dir : cgroups.v1) see(dir + "/memory.limit_in_bytes");
  return limit == kNone ? 0 : limit;
}

void ReturnFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace precis
