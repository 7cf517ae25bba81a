#include "engine/api/machine.h"

#include <unistd.h>

#include "gtest/gtest.h"
#include "tests/engine/model/checkpoint/checkpoint_files.h"

namespace precis {
namespace {

using testing::TempDir;

constexpr uint64_t kMiB = 1u << 20;

class Machine : public ::testing::Test {
 protected:
  Machine() { dir_.Write("proc/meminfo", "MemTotal:       4194304 kB\nMemFree: 1 kB\n"); }
  void Cgroup(const std::string& lines) { dir_.Write("proc/self/cgroup", lines); }
  void Write(const std::string& name, const std::string& text) {
    dir_.Write("sys/fs/cgroup/" + name, text + "\n");
  }
  uint32_t Cpus(uint32_t affinity = 16) { return DetectCpus({dir_.path(), affinity}); }
  uint64_t MemoryMiB() { return DetectMemoryLimitBytes({dir_.path(), 0}) / kMiB; }

  TempDir dir_;
};

TEST_F(Machine, WithoutCgroupsIsAffinityAndMemTotal) {
  EXPECT_EQ(Cpus(12), 12u);
  EXPECT_EQ(MemoryMiB(), 4096u);
}

TEST_F(Machine, V2LimitsOfOurGroupHold) {
  Cgroup("0::/system.slice/precis.service\n");
  Write("system.slice/precis.service/cpu.max", "350000 100000");
  Write("system.slice/precis.service/memory.max", std::to_string(512 * kMiB));
  EXPECT_EQ(Cpus(), 3u);
  EXPECT_EQ(MemoryMiB(), 512u);
}

TEST_F(Machine, V2LimitsOfParentsHold) {
  Cgroup("0::/a/b/c\n");
  Write("a/b/c/cpu.max", "max 100000");
  Write("a/b/c/memory.max", "max");
  Write("a/b/c/memory.high", "max");
  Write("a/b/memory.max", std::to_string(700 * kMiB));
  Write("a/cpu.max", "200000 100000");
  Write("a/memory.high", std::to_string(600 * kMiB));
  EXPECT_EQ(Cpus(), 2u);
  EXPECT_EQ(MemoryMiB(), 600u);
}

TEST_F(Machine, V2RootOfAContainerHolds) {
  Cgroup("0::/\n");
  Write("cpu.max", "400000 100000");
  Write("memory.max", std::to_string(1000 * kMiB));
  EXPECT_EQ(Cpus(), 4u);
  EXPECT_EQ(MemoryMiB(), 1000u);
}

TEST_F(Machine, V1LimitsHold) {
  Cgroup("5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n0::/\n");
  Write("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "250000");
  Write("cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000");
  Write("memory/docker/x/memory.limit_in_bytes", "9223372036854771712");
  Write("memory/docker/memory.limit_in_bytes", std::to_string(300 * kMiB));
  EXPECT_EQ(Cpus(), 2u);
  EXPECT_EQ(MemoryMiB(), 300u);
}

TEST_F(Machine, V1PathOfTheHostFallsBackToTheMount) {
  Cgroup("5:memory:/docker/deadbeef\n4:cpu:/docker/deadbeef\n");
  Write("cpu/cpu.cfs_quota_us", "100000");
  Write("cpu/cpu.cfs_period_us", "50000");
  Write("memory/memory.limit_in_bytes", std::to_string(256 * kMiB));
  EXPECT_EQ(Cpus(), 2u);
  EXPECT_EQ(MemoryMiB(), 256u);
}

TEST_F(Machine, V1WithoutQuotaIsAffinity) {
  Cgroup("4:cpu:/\n");
  Write("cpu/cpu.cfs_quota_us", "-1");
  Write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus(7), 7u);
}

TEST_F(Machine, LessThanOneCpuIsOne) {
  Cgroup("0::/\n");
  Write("cpu.max", "20000 100000");
  EXPECT_EQ(Cpus(), 1u);
}

TEST_F(Machine, LimitsAboveTheMachineDoNotHold) {
  Cgroup("0::/\n");
  Write("cpu.max", "6400000 100000");
  Write("memory.max", std::to_string(uint64_t{1} << 50));
  EXPECT_EQ(Cpus(8), 8u);
  EXPECT_EQ(MemoryMiB(), 4096u);
}

TEST_F(Machine, NonsenseCountsAsNoLimit) {
  Cgroup("garbage\n0::/../../elsewhere\n::\n");
  Write("cpu.max", "many few");
  Write("memory.max", "");
  EXPECT_EQ(Cpus(5), 5u);
  EXPECT_EQ(MemoryMiB(), 4096u);
}

TEST_F(Machine, NothingReadableIsZeroBytes) {
  const TempDir empty;
  EXPECT_EQ(DetectMemoryLimitBytes({empty.path(), 0}), 0u);
  EXPECT_EQ(DetectCpus({empty.path(), 3}), 3u);
}

TEST_F(Machine, LimitsSayWhoseTheyAre) {
  EXPECT_EQ(DetectMemoryLimit({dir_.path(), 0}).whose, "this machine has");
  Cgroup("0::/\n");
  Write("memory.max", std::to_string(1000 * kMiB));
  const MemoryLimit cgroup = DetectMemoryLimit({dir_.path(), 0});
  EXPECT_EQ(cgroup.whose, "the cgroup of this process may have");
  EXPECT_EQ(cgroup.left(), 1000 * kMiB);
  EXPECT_FALSE(cgroup.is_address_space);
}

TEST_F(Machine, TheAddressSpaceHoldsWhatIsMappedAlready) {
  dir_.Write("proc/self/statm", "25600 1 1 1 0 1 0\n");  // pages
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const MemoryLimit limit = DetectMemoryLimit({dir_.path(), 0, 25600 * page + 3 * kMiB});
  EXPECT_TRUE(limit.is_address_space);
  EXPECT_EQ(limit.used, 25600 * page);
  EXPECT_EQ(limit.left(), 3 * kMiB);
  // One that leaves more than the machine has is no limit.
  EXPECT_FALSE(DetectMemoryLimit({dir_.path(), 0, uint64_t{1} << 45}).is_address_space);
}

TEST_F(Machine, AvailableIsWhatOthersLeave) {
  EXPECT_EQ(DetectAvailableBytes({dir_.path(), 0}), 0u);
  dir_.Write("proc/meminfo", "MemTotal: 4194304 kB\nMemAvailable:   1024 kB\n");
  EXPECT_EQ(DetectAvailableBytes({dir_.path(), 0}), kMiB);
}

TEST(RealMachine, HasCpusAndMemory) {
  EXPECT_GE(DetectCpus(), 1u);
  EXPECT_GT(DetectMemoryLimitBytes(), 16 * kMiB);
}

TEST(HumanBytes, AreSaidInTheNearestUnit) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1023), "1023 B");
  EXPECT_EQ(HumanBytes(1024), "1.0 KiB");
  EXPECT_EQ(HumanBytes(1536u << 10), "1.5 MiB");
  EXPECT_EQ(HumanBytes(5ull << 40), "5.0 TiB");
  EXPECT_EQ(HumanBytes(~uint64_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace precis
