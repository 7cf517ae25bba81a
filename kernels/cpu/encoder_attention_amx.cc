// Encoder attention by AMX tiles. Compiled with flags of its own: see attention_bf16-inl.h.
#include "kernels/cpu/attention_bf16-inl.h"

namespace precis {
namespace {

// Palette 1; all eight tiles are 16 rows of 64 bytes.
struct TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
alignas(64) constexpr TileConfig kTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// The intrinsics for loads do not tell the compiler which memory they read.
inline void MemoryBarrier() { __asm__ volatile("" ::: "memory"); }

struct AmxProduct {
  // c[32, 32] = a[32, depth] * panel, or += when `add`; depth is a multiple of 32.
  static inline void Multiply(const uint16_t* a, size_t a_stride, const uint16_t* panel,
                              size_t depth, bool add, float* c, size_t c_stride) {
    const size_t a_bytes = a_stride * sizeof(uint16_t);
    const size_t c_bytes = c_stride * sizeof(float);
    constexpr size_t kPanelBytes = 2 * kPanel * sizeof(uint16_t);
    float* c2 = c + 16 * c_stride;
    MemoryBarrier();
    if (add) {
      _tile_loadd(0, c, c_bytes);
      _tile_loadd(1, c + 16, c_bytes);
      _tile_loadd(2, c2, c_bytes);
      _tile_loadd(3, c2 + 16, c_bytes);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    for (size_t k = 0; k < depth; k += 32) {
      _tile_loadd(4, a + k, a_bytes);
      _tile_loadd(6, panel + k * kPanel, kPanelBytes);
      _tile_loadd(7, panel + k * kPanel + 32, kPanelBytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, a + 16 * a_stride + k, a_bytes);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + 16, c_bytes);
    _tile_stored(2, c2, c_bytes);
    _tile_stored(3, c2 + 16, c_bytes);
  }
};

}  // namespace

void EncoderAttentionAmx(const EncoderAttentionParams& params, size_t head, size_t first,
                         size_t rows, float* scratch) {
  _tile_loadconfig(&kTiles);  // oneDNN's kernels load theirs
  Attend<AmxProduct>(params, head, first, rows, scratch);
  _tile_release();
}

}  // namespace precis
