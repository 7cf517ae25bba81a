// Machines other than x86: Highway and oneDNN each take the best they know; there is no choice yet.
#include "fmt/format.h"
#include "hwy/targets.h"
#include "kernels/cpu/isa/isa.h"

namespace precis {

StatusOr<Isa> ChooseIsa(std::string_view option) {
  if (option != "auto") {
    return InvalidArgument(fmt::format("isa {}: this machine is not x86; it has auto", option));
  }
  return Isa{"native", hwy::SupportedTargets()};
}

}  // namespace precis
