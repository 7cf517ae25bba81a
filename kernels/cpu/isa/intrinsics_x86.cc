// Kernels for instruction sets that Highway does not reach, taken where the ISA in use has them.
#include <cpuid.h>

#include <cstring>

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/kernels.h"

namespace precis {
namespace {

// On Intel's cores vdpbf16ps does half the products a second of two fused multiply-adds in f32
// (Sapphire Rapids: 2 cycles each, against half a cycle), and attention by it takes 1.3 times as
// long as in f32. See docs/performance/attention.md.
bool HasFastBf16Products() {
  unsigned a = 0;
  unsigned vendor[3] = {};
  if (__get_cpuid(0, &a, &vendor[0], &vendor[2], &vendor[1]) == 0) return false;
  return std::memcmp(vendor, "GenuineIntel", sizeof(vendor)) != 0;
}

// Not within an ISA's step: AVX-512 came first.
bool HasVnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 11 & 1) != 0;
}

}  // namespace

void SelectIntrinsics(const Isa& isa, CpuKernels* table) {
  if (isa.name == "avx512_bf16" && HasFastBf16Products()) {
    table->encoder_attention_bf16 = EncoderAttentionAvx512Bf16;
    table->pack_encoder_keys = PackEncoderKeysAvx512Bf16;
    table->multiply_panels_bf16 = MultiplyPanelsAvx512Bf16;
    table->paged_bf16 = &kPagedAvx512Bf16;
  }
  if (isa.name == "amx") {
    table->encoder_attention_bf16 = EncoderAttentionAmx;
    table->pack_encoder_keys = PackEncoderKeysAvx512Bf16;
  }
  if (isa.name != "avx2") table->round_row = RoundRowAvx512;
  if (isa.name != "avx2" && HasVnni()) table->paged_int8 = &kPagedAvx512Vnni;
  // Tiles multiply bytes several times as fast as VNNI: there oneDNN has the GEMM.
  if ((isa.name == "avx512" || isa.name == "avx512_bf16") && HasVnni()) {
    table->multiply_panels_int8 = MultiplyPanelsAvx512Vnni;
  }
}

}  // namespace precis
