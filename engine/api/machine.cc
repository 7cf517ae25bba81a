#include "engine/api/machine.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fmt/format.h"

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

// Of a line of /proc/meminfo; 0 where there is none.
uint64_t MemInfoBytes(const MachineFiles& files, std::string_view name) {
  std::ifstream file(files.root + "/proc/meminfo");
  for (std::string line; std::getline(file, line);) {  // "MemTotal:       16384 kB"
    if (!line.starts_with(name)) continue;
    const size_t digits = line.find_first_of("0123456789");
    if (digits == std::string::npos) return 0;
    return Number(std::string_view(line).substr(digits)).value_or(0) * 1024;
  }
  return 0;
}

// 0: no limit.
uint64_t AddressSpaceBytes(const MachineFiles& files) {
  if (files.address_space_bytes != 0) return files.address_space_bytes;
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
  return limit.rlim_cur;
}

// What counts against the address space: "size resident shared ...", in pages.
uint64_t MappedBytes(const MachineFiles& files) {
  const std::optional<uint64_t> pages = NumberIn(files.root + "/proc/self/statm");
  return pages.value_or(0) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

uint32_t DetectCpus(const MachineFiles& files) {
  double cpus = files.affinity_cpus > 0 ? files.affinity_cpus : AffinityCpus();
  const CgroupDirs cgroups = FindCgroups(files, "cpu");
  for (const std::string& dir : cgroups.v2) cpus = std::min(cpus, QuotaV2(dir).value_or(cpus));
  for (const std::string& dir : cgroups.v1) cpus = std::min(cpus, QuotaV1(dir).value_or(cpus));
  return std::max(1u, static_cast<uint32_t>(cpus));
}

MemoryLimit DetectMemoryLimit(const MachineFiles& files) {
  MemoryLimit least;
  const auto see = [&least](MemoryLimit limit) {
    if (limit.bytes == 0 || (least.bytes != 0 && limit.left() >= least.left())) return;
    least = std::move(limit);
  };
  see({.bytes = MemInfoBytes(files, "MemTotal:"), .whose = "this machine has"});
  const auto see_cgroup = [&see](const std::string& path) {
    // v1 says "no limit" with a number near 2^63; then MemTotal is smaller.
    see({.bytes = NumberIn(path).value_or(0), .whose = "the cgroup of this process may have"});
  };
  const CgroupDirs cgroups = FindCgroups(files, "memory");
  for (const std::string& dir : cgroups.v2) {
    see_cgroup(dir + "/memory.max");
    see_cgroup(dir + "/memory.high");  // beyond it the kernel throttles us, which is as bad
  }
  for (const std::string& dir : cgroups.v1) see_cgroup(dir + "/memory.limit_in_bytes");
  see({.bytes = AddressSpaceBytes(files),
       .used = MappedBytes(files),
       .whose = "the address space of this process (ulimit -v) is",
       .is_address_space = true});
  return least;
}

uint64_t DetectMemoryLimitBytes(const MachineFiles& files) {
  return DetectMemoryLimit(files).bytes;
}

uint64_t DetectAvailableBytes(const MachineFiles& files) {
  return MemInfoBytes(files, "MemAvailable:");
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

void ReturnFreedMemory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace precis
