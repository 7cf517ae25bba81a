#include "engine/load/open_device.h"

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/ref/ref_backend.h"
#include "spdlog/sinks/ostream_sink.h"
#include "spdlog/spdlog.h"

namespace precis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class NamedBackend final : public RefBackend {
 public:
  explicit NamedBackend(std::string name) : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  std::string Describe() const override { return name_ + " of somebody"; }

 private:
  const std::string name_;
};

// Opens a device where making cuda ends with `cuda`; keeps what was asked for, and the log.
struct Opening {
  std::vector<std::string> asked;
  std::string log;
  StatusOr<std::unique_ptr<Backend>> backend = Internal("not opened");

  Opening(const BackendOptions& options, std::string_view dtype, const Status& cuda) {
    std::ostringstream lines;
    const auto before = spdlog::default_logger();
    spdlog::set_default_logger(std::make_shared<spdlog::logger>(
        "test", std::make_shared<spdlog::sinks::ostream_sink_st>(lines)));
    spdlog::set_level(spdlog::level::info);
    backend = OpenDevice(options, dtype,
                         [&](const BackendOptions& o) -> StatusOr<std::unique_ptr<Backend>> {
                           asked.push_back(o.name);
                           if (o.name == "cuda" && !cuda.ok()) return cuda;
                           return std::make_unique<NamedBackend>(o.name);
                         });
    spdlog::set_default_logger(before);
    log = lines.str();
  }
  std::string name() const { return backend.ok() ? std::string((*backend)->name()) : "none"; }
};

TEST(OpenDevice, AutoIsCudaWhereThereIsOne) {
  const Opening opening({.name = "auto"}, "auto", OkStatus());
  EXPECT_EQ(opening.name(), "cuda");
  EXPECT_THAT(opening.log, HasSubstr("device: cuda of somebody"));
  EXPECT_EQ(std::count(opening.log.begin(), opening.log.end(), '\n'), 1);
}

TEST(OpenDevice, TheLogSaysWhichDeviceWasAskedFor) {
  const Opening cuda({.name = "cuda"}, "auto", OkStatus());
  EXPECT_THAT(cuda.log, HasSubstr("device: cuda of somebody"));
  const Opening cpu({.name = "cpu"}, "auto", OkStatus());
  EXPECT_EQ(cpu.log, "");
}

TEST(OpenDevice, AutoWithoutADeviceIsTheCpuAndOneLineSaysWhatIsMissing) {
  const Opening opening({.name = "auto"}, "bf16", Unavailable("no driver: libcuda.so.1"));
  EXPECT_EQ(opening.name(), "cpu");
  EXPECT_THAT(opening.log, HasSubstr("no driver: libcuda.so.1"));
  EXPECT_EQ(std::count(opening.log.begin(), opening.log.end(), '\n'), 1);
}

TEST(OpenDevice, AutoOfABuildWithoutCudaIsTheCpuSilently) {
  const Opening opening({.name = "auto"}, "auto", Unimplemented("built without CUDA"));
  EXPECT_EQ(opening.name(), "cpu");
  EXPECT_EQ(opening.log, "");
}

TEST(OpenDevice, AutoIsTheCpuForWhatOnlyTheCpuHas) {
  const Opening int8({.name = "auto"}, "int8", OkStatus());
  EXPECT_THAT(int8.asked, ElementsAre("cpu"));
  EXPECT_THAT(int8.log, HasSubstr("int8"));
  const Opening isa({.name = "auto", .isa = "avx2"}, "auto", OkStatus());
  EXPECT_THAT(isa.asked, ElementsAre("cpu"));
  EXPECT_THAT(isa.log, HasSubstr("--isa"));
}

TEST(OpenDevice, CudaThatIsMissingIsAnErrorThatSaysWhatIsMissing) {
  const Opening opening({.name = "cuda"}, "auto", Unavailable("no driver: libcuda.so.1"));
  EXPECT_THAT(opening.asked, ElementsAre("cuda")) << "nobody asked for the CPU";
  EXPECT_THAT(std::string(opening.backend.status().message()), HasSubstr("libcuda.so.1"));
}

TEST(OpenDevice, CudaWithWeightsOfInt8IsAnErrorThatNamesBoth) {
  const Opening opening({.name = "cuda"}, "int8", OkStatus());
  EXPECT_EQ(opening.backend.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(opening.backend.status().message()), HasSubstr("--dtype int8"));
  EXPECT_THAT(std::string(opening.backend.status().message()), HasSubstr("cuda"));
}

}  // namespace
}  // namespace precis
