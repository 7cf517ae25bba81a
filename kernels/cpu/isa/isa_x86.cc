#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

#include "fmt/format.h"
#include "hwy/targets.h"
#include "kernels/cpu/isa/isa.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace precis {
namespace {

struct Level {
  std::string_view name;
  dnnl::cpu_isa cap;   // oneDNN's name of the same step
  int64_t hwy_target;  // the best of Highway's that the step allows
};

// Ascending; each includes those before it. VNNI variants are within their step: they change int8
// only.
constexpr std::array<Level, 4> kLevels = {{
    {"avx2", dnnl::cpu_isa::avx2_vnni, HWY_AVX2},
    {"avx512", dnnl::cpu_isa::avx512_core_vnni, HWY_AVX3},
    {"avx512_bf16", dnnl::cpu_isa::avx512_core_bf16, HWY_AVX3},
    {"amx", dnnl::cpu_isa::avx512_core_amx, HWY_AVX3},
}};

uint64_t ReadXcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool HasAvx512Bf16() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1) != 0;
}

// Linux saves the state of tiles only for a process that has asked for it, which holds for its
// threads; without, the first use of a tile is a fatal signal. False where it is refused.
bool AskForTiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Tiles, their bf16 and int8 products, and an OS that saves their state.
bool HasAmx() {
  constexpr uint32_t kBits = 1u << 22 | 1u << 24 | 1u << 25;
  constexpr uint64_t kState = 3u << 17;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kBits) == kBits &&
         (ReadXcr0() & kState) == kState && AskForTiles();
}

// How many of kLevels this machine has.
size_t MachineLevels() {
  const int64_t targets = hwy::SupportedTargets();
  if ((targets & HWY_AVX2) == 0) return 0;
  if ((targets & HWY_AVX3) == 0) return 1;
  if (!HasAvx512Bf16()) return 2;
  return HasAmx() ? 4 : 3;
}

// The step that oneDNN really uses; it may be below the machine's (DNNL_MAX_CPU_ISA).
size_t LevelOfDnnl() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
      return 1;
    case dnnl::cpu_isa::avx512_core:
    case dnnl::cpu_isa::avx512_core_vnni:
      return 2;
    case dnnl::cpu_isa::avx512_core_bf16:
      return 3;
    case dnnl::cpu_isa::avx512_core_amx:
      return 4;
    default:
      return 0;
  }
}

Isa MakeIsa(size_t levels) {
  const Level& level = kLevels[levels - 1];
  // All targets from the level's best down: in Highway's masks a lower bit is a better target.
  return {std::string(level.name), hwy::SupportedTargets() & ~(level.hwy_target - 1)};
}

}  // namespace

StatusOr<Isa> ChooseIsa(std::string_view option) {
  const size_t machine = MachineLevels();
  if (machine == 0)
    return Unavailable("the backend cpu needs a CPU with AVX2; use the backend ref");
  size_t wanted = 0;
  if (option != "auto") {
    while (wanted < kLevels.size() && kLevels[wanted].name != option) ++wanted;
    if (wanted++ == kLevels.size()) {
      return InvalidArgument(
          fmt::format("unknown isa \"{}\": it is auto, avx2, avx512, avx512_bf16 or amx", option));
    }
    if (wanted > machine) {
      return InvalidArgument(
          fmt::format("isa {}: this machine has {} at most", option, kLevels[machine - 1].name));
    }
    // Refused once oneDNN has started; then what it uses decides.
    static_cast<void>(dnnl::set_max_cpu_isa(kLevels[wanted - 1].cap));
  }
  const size_t used = LevelOfDnnl();
  if (used == 0) {
    return FailedPrecondition(
        "oneDNN is held below AVX2 (DNNL_MAX_CPU_ISA); the backend cpu needs it");
  }
  if (wanted != 0 && used != wanted) {
    return FailedPrecondition(fmt::format("isa {}: oneDNN already uses {} in this process", option,
                                          kLevels[used - 1].name));
  }
  return MakeIsa(used);
}

}  // namespace precis
