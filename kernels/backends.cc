// From a backend's name to its factory; and the observer of its ops.
#include "fmt/format.h"
#include "kernels/backend.h"
#include "kernels/grouping_ops.h"

namespace precis {

void Backend::set_observer(OpObserver* observer) {
  observer_ = observer;
  if (GroupingOps* ops = grouping_ops(); ops != nullptr) ops->observer_ = observer;
}

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
