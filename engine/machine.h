// What this process may use of the machine: CPUs by affinity and cgroup quota, memory by cgroup
// limit. Called once at start to choose threads and pool size, and once a model is loaded. Thread
// rule: functions, no state.
#pragma once

#include <cstdint>
#include <string>

namespace precis {

// Where the kernel's files are; tests point it at trees of their own.
struct MachineFiles {
  std::string root;            // before "/proc/..." and "/sys/..."; empty: the real ones
  uint32_t affinity_cpus = 0;  // 0: ask sched_getaffinity
};

// At least 1. A quota of 1.5 CPUs counts as 1: a thread more would be throttled.
uint32_t DetectCpus(const MachineFiles& files = {});

// The smallest of MemTotal and the limits of our cgroup and all above it (v1 or v2).
// 0 if nothing can be read.
uint64_t DetectMemoryLimitBytes(const MachineFiles& files = {});

// Gives the system what is freed but still held by the allocator, in all its arenas: after loading
// as much as the tensors that were read, which nothing would use again. Takes milliseconds.
void ReturnFreedMemory();

}  // namespace precis
