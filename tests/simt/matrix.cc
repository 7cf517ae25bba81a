#include "tests/simt/matrix.h"

#include <bit>
#include <cstring>

namespace precis::simt {
namespace {

constexpr int kBankGroups = 8;  // of 16 bytes each: a row of a matrix takes one
constexpr uintptr_t kRowBytes = 16;

struct Fragments {
  unsigned a[4];
  unsigned b[2];
  float d[4];
};

float LowBF16(unsigned word) { return std::bit_cast<float>(word << 16); }
float HighBF16(unsigned word) { return std::bit_cast<float>(word & 0xffff0000u); }

Fragments FragmentsOf(const LaneValue& value) {
  Fragments f;
  std::memcpy(&f, value.bytes, sizeof(f));
  return f;
}

// Lane 4 g + t holds, of A, words (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); of B, words
// (2t, g), (2t + 8, g); of D, (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
void MultiplyAll(LaneValue* lanes) {
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    const Fragments f = FragmentsOf(lanes[lane]);
    const int g = lane / 4;
    const int t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      float* to = &a[g + i % 2 * 8][2 * t + i / 2 * 8];
      to[0] = LowBF16(f.a[i]);
      to[1] = HighBF16(f.a[i]);
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * t + i * 8][g] = LowBF16(f.b[i]);
      b[2 * t + i * 8 + 1][g] = HighBF16(f.b[i]);
    }
  }
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    Fragments f = FragmentsOf(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8;
      const int column = lane % 4 * 2 + i % 2;
      double sum = f.d[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      f.d[i] = static_cast<float>(sum);
    }
    std::memcpy(lanes[lane].bytes, &f, sizeof(f));
  }
}

void CountConflicts(LaneValue* lanes) {
  MatrixLoads& loads = CountedMatrixLoads();
  for (int j = 0; j < 4; ++j) {
    unsigned groups = 0;
    for (int i = 0; i < 8; ++i) {
      uintptr_t address;
      std::memcpy(&address, lanes[j * 8 + i].bytes, sizeof(address));
      groups |= 1u << (address / kRowBytes % kBankGroups);
    }
    ++loads.matrices;
    loads.conflicts += static_cast<uint64_t>(8 - std::popcount(groups));
  }
}

}  // namespace

MatrixLoads& CountedMatrixLoads() {
  static MatrixLoads loads;
  return loads;
}

const uint16_t* MatrixRows::at(int lane) const {
  const uint16_t* row;
  std::memcpy(&row, lanes[lane].bytes, sizeof(row));
  return row;
}

MatrixRows ShareMatrixRows(const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % kRowBytes != 0) {
    Fail("ldmatrix: row not aligned to its 16 bytes");
  }
  LaneValue mine{};
  std::memcpy(mine.bytes, &row, sizeof(row));
  return {Exchange(~0u, mine, "ldmatrix", CountConflicts)};
}

void MultiplyBF16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  Fragments f{{a[0], a[1], a[2], a[3]}, {b0, b1}, {d[0], d[1], d[2], d[3]}};
  LaneValue mine{};
  std::memcpy(mine.bytes, &f, sizeof(f));
  f = FragmentsOf(Exchange(~0u, mine, "mma", MultiplyAll)[Lane()]);
  std::memcpy(d, f.d, sizeof(f.d));
}

}  // namespace precis::simt
