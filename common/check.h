// PRECIS_CHECK: what cannot happen. It aborts with file and line. A request's content never reaches
// one: what can happen returns a Status.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace precis::internal {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace precis::internal

#define PRECIS_CHECK(condition)       \
  ((condition) ? static_cast<void>(0) \
               : ::precis::internal::CheckFailed(__FILE__, __LINE__, #condition))
