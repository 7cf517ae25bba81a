// MakeBackend: names, and what it says about those that are not there.
#include "kernels/backend.h"
#include "gtest/gtest.h"

namespace precis {
namespace {

TEST(MakeBackend, MakesRefByName) {
  const auto backend = MakeBackend({.name = "ref"});
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), "ref");
  EXPECT_EQ((*backend)->num_threads(), 1u);
}

TEST(MakeBackend, RefusesAnUnknownName) {
  const auto backend = MakeBackend({.name = "tpu"});
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(backend.status().message().find("tpu"), std::string_view::npos);
}

TEST(MakeBackend, SaysThatThisBuildHasNoCuda) {
  const auto backend = MakeBackend({.name = "cuda"});
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(backend.status().message().find("without CUDA"), std::string_view::npos);
}

TEST(MakeBackend, RefusesAnIsaForRef) {
  const auto backend = MakeBackend({.name = "ref", .isa = "avx2"});
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(backend.status().message().find("avx2"), std::string_view::npos);
}

}  // namespace
}  // namespace precis
