// Text of unknown origin, such as a tensor's name, made fit for a one-line message.
// Called by whoever reads a checkpoint's files. Thread rule: a function, no state.
#pragma once

#include <string>
#include <string_view>

namespace precis {

// Escaped, and cut to a bounded length.
std::string Shown(std::string_view text);

}  // namespace precis
