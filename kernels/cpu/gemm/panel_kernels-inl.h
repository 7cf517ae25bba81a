// The product of rows with panels of packed weights (kernels/cpu/gemm/panel_gemm.h), for a type and
// an instruction set that multiplies and adds 4 bytes of a row with 4 of each of 16 columns at
// once.
//
// Included by one source for each such instruction set, which gives that as `Product`. All is in an
// unnamed namespace and calls nothing inline of ours or of the standard library: those sources are
// compiled with flags of their own, and the linker may keep any one copy of a shared inline
// function. Thread rule: pure but for outputs.
//
// While a panel is multiplied by more than a few rows, the next one is fetched into L2, a piece
// with each step, so that memory and arithmetic work at the same time.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa/kernels.h"

namespace precis {
namespace {

constexpr size_t kLine = 64;                     // bytes of a cache line, and of a vector
constexpr size_t kStep = 4 * kGemmPanelColumns;  // bytes of a panel that a step reads
static_assert(kStep == 2 * kLine && kGemmPanelColumns == 32);
// Rows of a tile, at most. With 12 the compiler runs out of registers.
constexpr size_t kTileRows = 8;
// So few rows read panels as fast as the CPU fetches them by itself, and are slower with our help.
constexpr size_t kUnaidedRows = 6;
// Rows that go through all panels together stay in L2 beside two panels.
constexpr size_t kBlockBytes = size_t{256} << 10;

// 4 bytes of a row, read as one element.
typedef int32_t __attribute__((may_alias, aligned(1))) Quad;

inline __m512i Broadcast(const uint8_t* x) {
  return _mm512_set1_epi32(*reinterpret_cast<const Quad*>(x));
}

// What a tile fetches for the next one: `step` bytes further with each of its steps.
struct Ahead {
  const uint8_t* from;
  size_t step;
};

inline void Fetch(const uint8_t* from) {
  _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T1);
}

template <class Product, bool kBias>
inline void Store(const PanelTask& t, typename Product::Sums sums, size_t row, size_t column) {
  const size_t left = t.num_columns > column ? t.num_columns - column : 0;
  const __mmask16 inside = static_cast<__mmask16>(left >= 16 ? 0xffffu : (1u << left) - 1u);
  float* to = t.out + row * t.out_stride + column;
  __m512 y = Product::Finish(t, sums, row, column);
  if (kBias) y = _mm512_add_ps(y, _mm512_loadu_ps(t.bias + column));
  if (t.accumulate) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(inside, to));
  _mm512_mask_storeu_ps(to, inside, y);
}

template <class Product, bool kBias, size_t kRows>
inline void StoreTile(const PanelTask& t, const typename Product::Sums (&sums)[kRows][2],
                      size_t row, size_t column) {
#pragma GCC unroll 8
  for (size_t i = 0; i < kRows; ++i) {
    Store<Product, kBias>(t, sums[i][0], row + i, column);
    Store<Product, kBias>(t, sums[i][1], row + i, column + 16);
  }
}

// kRows rows from `row` on with one panel. A sum takes its steps in order, whatever the tile.
template <class Product, size_t kRows>
void Tile(const PanelTask& t, size_t row, size_t panel, Ahead ahead) {
  typename Product::Sums sums[kRows][2];
  const size_t column = panel * kGemmPanelColumns;
#pragma GCC unroll 8
  for (size_t i = 0; i < kRows; ++i) {
    sums[i][0] = Product::Start(t, column);
    sums[i][1] = Product::Start(t, column + 16);
  }
  const size_t stride = t.row_stride;
  const uint8_t* x = t.rows + row * stride;
  const uint8_t* w = t.panels + panel * t.steps * kStep;
  for (size_t s = 0; s < t.steps; ++s, w += kStep, x += 4, ahead.from += ahead.step) {
    const __m512i left = _mm512_load_si512(w);
    const __m512i right = _mm512_load_si512(w + kLine);
#pragma GCC unroll 8
    for (size_t i = 0; i < kRows; ++i) {
      const __m512i pair = Broadcast(x + i * stride);
      sums[i][0] = Product::Add(sums[i][0], left, pair);
      sums[i][1] = Product::Add(sums[i][1], right, pair);
    }
    Fetch(ahead.from);
    Fetch(ahead.from + kLine);
  }
  if (t.bias != nullptr) return StoreTile<Product, true, kRows>(t, sums, row, column);
  StoreTile<Product, false, kRows>(t, sums, row, column);
}

template <class Product>
void OneTile(const PanelTask& t, size_t rows, size_t row, size_t panel, Ahead ahead) {
  switch (rows) {
    case 1:
      return Tile<Product, 1>(t, row, panel, ahead);
    case 2:
      return Tile<Product, 2>(t, row, panel, ahead);
    case 3:
      return Tile<Product, 3>(t, row, panel, ahead);
    case 4:
      return Tile<Product, 4>(t, row, panel, ahead);
    case 5:
      return Tile<Product, 5>(t, row, panel, ahead);
    case 6:
      return Tile<Product, 6>(t, row, panel, ahead);
    case 7:
      return Tile<Product, 7>(t, row, panel, ahead);
    default:
      return Tile<Product, 8>(t, row, panel, ahead);
  }
}

// The panel after `panel`: the task's, or what is read after them, or nothing.
inline Ahead After(const PanelTask& t, size_t panel) {
  if (t.num_rows <= kUnaidedRows) return {t.panels, 0};
  if (panel + 1 < t.num_panels) return {t.panels + (panel + 1) * t.steps * kStep, kStep};
  if (t.next != nullptr) return {t.next, kStep};
  return {t.panels, 0};
}

// Tiles of rows begin .. end - 1, of sizes as even as possible, each of which fetches its share of
// the next panel.
template <class Product>
void OnePanel(const PanelTask& t, size_t begin, size_t end, size_t panel) {
  const size_t tiles = (end - begin + kTileRows - 1) / kTileRows;
  Ahead ahead = After(t, panel);
  ahead.step /= tiles;
  for (size_t i = 0, row = begin; i < tiles; ++i) {
    const size_t rows = (end - row + tiles - i - 1) / (tiles - i);
    OneTile<Product>(t, rows, row, panel, ahead);
    ahead.from += t.steps * ahead.step;
    row += rows;
  }
}

template <class Product>
void MultiplyPanels(const PanelTask& t) {
  const size_t fitting = kBlockBytes / t.row_stride / kTileRows * kTileRows;
  const size_t block = fitting < kTileRows ? kTileRows : fitting;
  for (size_t begin = 0; begin < t.num_rows; begin += block) {
    const size_t end = t.num_rows - begin < block ? t.num_rows : begin + block;
    for (size_t p = 0; p < t.num_panels; ++p) OnePanel<Product>(t, begin, end, p);
  }
}

}  // namespace
}  // namespace precis
