// What kernels/cuda/ptx.h has a function for, on the emulator and on a device: the same tests of
// both, so that the one is what the other does. What only the emulator tells is in tests/simt.
#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "kernels/dtype.h"
#include "tests/kernels/cuda/instruction_kernels.h"
#include "tests/kernels/cuda/kernel_memory.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

struct alignas(16) Chunks {
  std::byte bytes[32 * 16];
};

Chunks SomeChunks() {
  Chunks chunks;
  for (size_t i = 0; i < sizeof(chunks.bytes); ++i) {
    chunks.bytes[i] = static_cast<std::byte>(i * 7 % 251 + 1);
  }
  return chunks;
}

TEST(CudaInstructions, CopiesBringEveryNumberOfBytesAndZerosBehindThem) {
  const Chunks in = SomeChunks();
  std::vector<unsigned> source_bytes;
  for (unsigned i = 0; i < 32; ++i) source_bytes.push_back(i % 17);
  InAllSchedules([&] {
    Chunks out{};
    KernelMemory memory;
    RunCopies(memory.Read(in.bytes, 512), memory.Read(source_bytes.data(), 32), 32,
              memory.Write(out.bytes, 512), memory.stream());
    memory.Run();
    for (size_t i = 0; i < 512; ++i) {
      EXPECT_EQ(out.bytes[i], i % 16 < source_bytes[i / 16] ? in.bytes[i] : std::byte{0}) << i;
    }
  });
}

TEST(CudaInstructions, AGroupOfCopiesIsThereWhenThoseLeftAreLater) {
  const Chunks in = SomeChunks();
  for (unsigned groups = 1; groups <= 4; ++groups) {
    Chunks out{};
    KernelMemory memory;
    RunGroupsOfCopies(memory.Read(in.bytes, 64), groups, memory.Write(out.bytes, 64),
                      memory.stream());
    memory.Run();
    EXPECT_EQ(std::memcmp(out.bytes, in.bytes, groups * size_t{16}), 0) << groups;
  }
}

TEST(CudaInstructions, LoadMatricesGivesEachLaneItsTwoElementsOfEachMatrix) {
  uint16_t in[256];
  for (size_t i = 0; i < 256; ++i) in[i] = static_cast<uint16_t>(i * 257 + 3);
  InAllSchedules([&] {
    for (const bool transposed : {false, true}) {
      unsigned out[128];
      KernelMemory memory;
      RunLoadMatrices(transposed, memory.Read(in, 256), memory.Write(out, 128), memory.stream());
      memory.Run();
      for (unsigned lane = 0; lane < 32; ++lane) {
        const unsigned g = lane / 4;
        const unsigned t = lane % 4;
        for (unsigned j = 0; j < 4; ++j) {
          const auto at = [&](unsigned row, unsigned column) -> unsigned {
            return in[64 * j + 8 * row + column];
          };
          const unsigned want = transposed ? at(2 * t, g) | at(2 * t + 1, g) << 16
                                           : at(g, 2 * t) | at(g, 2 * t + 1) << 16;
          EXPECT_EQ(out[lane * 4 + j], want) << lane << " " << j << " " << transposed;
        }
      }
    }
  });
}

// d += a b of [16, 16], [16, 8], [16, 8].
struct Product {
  std::vector<uint16_t> a = std::vector<uint16_t>(256);
  std::vector<uint16_t> b = std::vector<uint16_t>(128);
  std::vector<float> d = std::vector<float>(128);

  std::vector<float> Run() const {
    std::vector<float> got = d;
    KernelMemory memory;
    RunMultiplications(memory.Read(a.data(), a.size()), memory.Read(b.data(), b.size()), 1,
                       memory.Write(got.data(), got.size()), memory.stream());
    memory.Run();
    return got;
  }
  float A(size_t row, size_t k) const { return BF16ToF32(a[row * 16 + k]); }
  float B(size_t k, size_t column) const { return BF16ToF32(b[k * 8 + column]); }
  // The element as it is, and the magnitudes that were added up.
  std::pair<double, double> Exact(size_t row, size_t column) const {
    double sum = d[row * 8 + column];
    double magnitude = std::abs(sum);
    for (size_t k = 0; k < 16; ++k) {
      const double product = static_cast<double>(A(row, k)) * B(k, column);
      sum += product;
      magnitude += std::abs(product);
    }
    return {sum, magnitude};
  }
};

// Of magnitudes far apart, so that the order and the rounding of sums are seen.
Product RandomProduct(uint32_t seed) {
  Product p;
  const auto values = RandomFloats(512, seed);
  for (size_t i = 0; i < 512; ++i) {
    const float x = values[i] * std::exp2(static_cast<float>(i * 37 % 11) - 5);
    if (i < 256) {
      p.a[i] = F32ToBF16(x);
    } else if (i < 384) {
      p.b[i - 256] = F32ToBF16(x);
    } else {
      p.d[i - 384] = 3.0f * x;
    }
  }
  return p;
}

// Integers: whatever the order, nothing is rounded.
TEST(CudaInstructions, MultiplyAddsTheProductOfTwoMatrices) {
  Product p;
  for (size_t i = 0; i < 256; ++i) p.a[i] = F32ToBF16(static_cast<float>(i * 37 % 17) - 8);
  for (size_t i = 0; i < 128; ++i) p.b[i] = F32ToBF16(static_cast<float>(i * 29 % 15) - 7);
  for (size_t i = 0; i < 128; ++i) p.d[i] = static_cast<float>(i * 5);
  InAllSchedules([&] {
    const std::vector<float> got = p.Run();
    for (size_t i = 0; i < 128; ++i) EXPECT_EQ(got[i], p.Exact(i / 8, i % 8).first) << i;
  });
}

// Products are exact, and sums are those of f32 or better, of an order that PTX leaves open.
TEST(CudaInstructions, MultiplyRoundsNoMoreThanF32Does) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    const Product p = RandomProduct(seed);
    const std::vector<float> got = p.Run();
    for (size_t i = 0; i < 128; ++i) {
      const auto [sum, magnitude] = p.Exact(i / 8, i % 8);
      EXPECT_NEAR(got[i], sum, magnitude * 0x1p-20) << seed << " " << i;
    }
  }
}

TEST(CudaInstructions, MultiplyPassesOnWhatIsNotFinite) {
  Product p = RandomProduct(3);
  p.a[2 * 16 + 5] = F32ToBF16(NAN);
  p.d[4 * 8 + 1] = INFINITY;
  for (size_t k = 0; k < 16; ++k) p.a[7 * 16 + k] = F32ToBF16(3e38f);
  for (size_t k = 0; k < 16; ++k) p.b[k * 8] = F32ToBF16(2.0f);
  const std::vector<float> got = p.Run();
  for (size_t row = 0; row < 16; ++row) {
    for (size_t column = 0; column < 8; ++column) {
      const float x = got[row * 8 + column];
      if (row == 2) {
        EXPECT_TRUE(std::isnan(x)) << column;
      } else if (row == 4 && column == 1) {
        EXPECT_EQ(x, INFINITY);
      } else if (row == 7 && column == 0) {
        EXPECT_EQ(x, INFINITY);
      } else if (row != 7) {
        EXPECT_TRUE(std::isfinite(x)) << row << " " << column;
      }
    }
  }
}

// What a slice of an encoder's rows is built on: a row's sums do not depend on where among the 16
// it lies, nor on what the others are.
TEST(CudaInstructions, MultiplyGivesARowTheSameBitsAtEveryPlace) {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    const Product p = RandomProduct(seed);
    const std::vector<float> want = p.Run();
    for (size_t turn = 1; turn < 16; ++turn) {
      Product turned = p;
      for (size_t i = 0; i < 256; ++i) turned.a[(i + turn * 16) % 256] = p.a[i];
      for (size_t i = 0; i < 128; ++i) turned.d[(i + turn * 8) % 128] = p.d[i];
      std::vector<float> got = turned.Run();
      std::rotate(got.begin(), got.begin() + static_cast<ptrdiff_t>(turn * 8), got.end());
      EXPECT_EQ(std::memcmp(got.data(), want.data(), 128 * sizeof(float)), 0) << turn;
    }
    for (const size_t row : {size_t{0}, size_t{seed}, size_t{15}}) {
      Product alone = p;
      for (size_t i = 0; i < 256; ++i) {
        if (i / 16 != row) alone.a[i] = F32ToBF16(i % 3 == 0 ? NAN : INFINITY);
      }
      const std::vector<float> got = alone.Run();
      EXPECT_EQ(std::memcmp(&got[row * 8], &want[row * 8], 8 * sizeof(float)), 0) << row;
    }
  }
}

}  // namespace
}  // namespace precis
