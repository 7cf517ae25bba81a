// From a backend's name to its factory.
#include "fmt/format.h"
#include "kernels/backend.h"

namespace precis {

StatusOr<std::unique_ptr<Backend>> MakeBackend(const BackendOptions& options) {
  if (options.name == "cpu") return MakeCpuBackend(options);
  if (options.isa != "auto") {
    return InvalidArgument(
        fmt::format("isa {} is for the device cpu only, not for {}", options.isa, options.name));
  }
  if (options.name == "ref") return MakeRefBackend();
  if (options.name == "cuda") return MakeCudaBackend(options);
  return InvalidArgument(
      fmt::format("unknown device \"{}\": it is auto, cpu, cuda or ref", options.name));
}

}  // namespace precis
