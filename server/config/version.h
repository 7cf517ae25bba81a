// The release this binary was built from; the number is CMake's project version.
// Thread rule: a constant.
#pragma once

#ifndef PRECIS_VERSION
#error "PRECIS_VERSION is set by server/CMakeLists.txt"
#endif

namespace precis {

inline constexpr char kPrecisVersion[] = PRECIS_VERSION;

}  // namespace precis
