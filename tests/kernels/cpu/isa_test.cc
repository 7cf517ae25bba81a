// The choice of the instruction set. Each ISA has a process of its own (PRECIS_TEST_ISA).
#include "kernels/cpu/isa/isa.h"

#include "hwy/targets.h"
#include "tests/kernels/kernel_testing.h"

namespace precis {
namespace {

TEST(Isa, IsWhatWasAskedFor) {
  const auto cpu = Cpu();
  PRECIS_SKIP_WITHOUT(cpu);
  if (TestedIsa() == "auto") {
    EXPECT_FALSE(cpu->isa().empty());
  } else {
    EXPECT_EQ(cpu->isa(), TestedIsa());
  }
}

TEST(Isa, Avx2KeepsOurKernelsBelowAvx512) {
  if (TestedIsa() != "avx2") GTEST_SKIP() << "for the process of avx2";
  const auto isa = ChooseIsa("avx2");
  ASSERT_TRUE(isa.ok()) << isa.status();
  EXPECT_EQ(isa->hwy_targets & HWY_AVX3, 0);
  EXPECT_NE(isa->hwy_targets & HWY_AVX2, 0);
}

TEST(Isa, RefusesAnUnknownNameAndSaysIt) {
  const auto isa = ChooseIsa("avx1024");
  EXPECT_EQ(isa.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(isa.status().message().find("avx1024"), std::string_view::npos);
}

TEST(Isa, OnlyOneIsPossibleInAProcess) {
  const auto first = Cpu();
  PRECIS_SKIP_WITHOUT(first);
  EXPECT_TRUE(ChooseIsa(first->isa()).ok());
  EXPECT_TRUE(ChooseIsa("auto").ok());
  const auto other = ChooseIsa(first->isa() == "avx2" ? "avx512" : "avx2");
  ASSERT_FALSE(other.ok());
  const bool lacks = other.status().code() == absl::StatusCode::kInvalidArgument;
  EXPECT_TRUE(lacks || other.status().code() == absl::StatusCode::kFailedPrecondition)
      << other.status();
}

}  // namespace
}  // namespace precis
