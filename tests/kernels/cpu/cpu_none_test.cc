#include "gtest/gtest.h"
#include "kernels/backend.h"

namespace precis {
namespace {

TEST(CpuNone, SaysThatThisBuildHasNoCpuBackend) {
  const auto backend = MakeBackend({.name = "cpu"});
  EXPECT_EQ(backend.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(backend.status().message().find("PRECIS_CPU_BACKEND"), std::string_view::npos);
}

}  // namespace
}  // namespace precis
