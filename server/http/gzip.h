// A body in gzip's format, for who accepts it.
//
// Called by the HTTP connections. Thread rule: a function without state.
#pragma once

#include <string>
#include <string_view>

namespace precis {

// `text` compressed; empty where there is no memory for it.
std::string Gzip(std::string_view text);

}  // namespace precis
