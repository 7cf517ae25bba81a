// What this process may use of the machine: CPUs by affinity and cgroup quota, memory by cgroup
// and address space. Called once at start to choose threads and pool size, and once a model is
// loaded. Thread rule: functions, no state.
#pragma once

#include <cstdint>
#include <string>

namespace precis {

// Where the kernel's files are; tests point it at trees of their own.
struct MachineFiles {
  std::string root;                  // before "/proc/..." and "/sys/..."; empty: the real ones
  uint32_t affinity_cpus = 0;        // 0: ask sched_getaffinity
  uint64_t address_space_bytes = 0;  // 0: ask getrlimit
};

// At least 1. A quota of 1.5 CPUs counts as 1: a thread more would be throttled.
uint32_t DetectCpus(const MachineFiles& files = {});

// The memory that this process may have, and by whose word.
struct MemoryLimit {
  uint64_t bytes = 0;             // 0: nothing could be read
  uint64_t used = 0;              // of it, by what we are made of; 0 where that does not count
  std::string whose;              // "this machine has", "the cgroup of this process may have", ...
  bool is_address_space = false;  // stacks and what is only reserved count as well

  uint64_t left() const { return bytes > used ? bytes - used : 0; }
};

// The one of these that leaves least: MemTotal, the limits of our cgroup and all above it (v1 or
// v2), and the address space (ulimit -v).
MemoryLimit DetectMemoryLimit(const MachineFiles& files = {});

// Its bytes. 0 if nothing can be read.
uint64_t DetectMemoryLimitBytes(const MachineFiles& files = {});

// What the machine has left now for all its processes; 0 if that cannot be read.
uint64_t DetectAvailableBytes(const MachineFiles& files = {});

// "1.5 MiB", "640 B": for people.
std::string HumanBytes(uint64_t bytes);

// Gives the system what is freed but still held by the allocator, in all its arenas: after loading
// as much as the tensors that were read, which nothing would use again. Takes milliseconds.
void ReturnFreedMemory();

}  // namespace precis
