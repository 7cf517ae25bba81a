#include "engine/load/open_device.h"

#include <string>
#include <utility>

#include "common/log.h"

namespace precis {
namespace {

constexpr std::string_view kInt8 = "int8";

// Null when it is to be the CPU; the log has said why.
std::unique_ptr<Backend> TryCuda(BackendOptions options, std::string_view dtype,
                                 const BackendMaker& make) {
  if (dtype == kInt8) {
    spdlog::info("device: the CPU, which alone has weights of int8 (--dtype)");
    return nullptr;
  }
  if (options.isa != "auto") {
    spdlog::info("device: the CPU, of which an instruction set was asked for (--isa)");
    return nullptr;
  }
  options.name = "cuda";
  auto cuda = make(options);
  if (cuda.ok()) return *std::move(cuda);
  const std::string why(cuda.status().message());
  // That a build without CUDA uses the CPU surprises no one.
  const bool built_without = cuda.status().code() == absl::StatusCode::kUnimplemented;
  spdlog::log(built_without ? spdlog::level::debug : spdlog::level::info, "device: the CPU: {}",
              why);
  return nullptr;
}

StatusOr<std::unique_ptr<Backend>> Open(BackendOptions options, std::string_view dtype,
                                        const BackendMaker& make) {
  if (options.name == "cuda" && dtype == kInt8) {
    return InvalidArgument(
        "--dtype int8 is for --device cpu only: cuda has weights of f32 and bf16");
  }
  if (options.name != "auto") return make(options);
  if (auto cuda = TryCuda(options, dtype, make)) return cuda;
  options.name = "cpu";
  return make(options);
}

}  // namespace

StatusOr<std::unique_ptr<Backend>> OpenDevice(BackendOptions options, std::string_view dtype,
                                              const BackendMaker& make) {
  PRECIS_ASSIGN_OR_RETURN(auto backend, Open(std::move(options), dtype, make));
  // What the CPU is, the start-up log says with the model's numerics.
  if (backend->name() == "cuda") spdlog::info("device: {}", backend->Describe());
  return backend;
}

}  // namespace precis
