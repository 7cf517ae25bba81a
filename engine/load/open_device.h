// From --device to a backend: `auto` is decided here, and here alone.
//
// Called while loading. Thread rule: as the backend that is made.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "common/status.h"
#include "kernels/backend.h"

namespace precis {

using BackendMaker = std::function<StatusOr<std::unique_ptr<Backend>>(const BackendOptions&)>;

// options.name may be auto: cuda, where there is one and neither `dtype` nor options.isa asks for
// what only the CPU has, else the CPU; a line of the log says why, or which device of CUDA it is.
// INVALID_ARGUMENT for a `dtype` that cuda lacks. `make`: MakeBackend, or a test's.
StatusOr<std::unique_ptr<Backend>> OpenDevice(BackendOptions options, std::string_view dtype,
                                              const BackendMaker& make);

}  // namespace precis
