#include "server/openmp_wait.h"

#include <stdlib.h>
#include <unistd.h>

namespace precis {
namespace {

// Spins, each a pause instruction: a fraction of a millisecond. Longer than the gaps between the
// parallel regions of a step, short against what another process loses by it.
constexpr char kSpinCount[] = "10000";

}  // namespace

void RestartWithBoundedSpin(char** argv) {
  if (getenv("OMP_WAIT_POLICY") != nullptr || getenv("GOMP_SPINCOUNT") != nullptr) return;
  setenv("GOMP_SPINCOUNT", kSpinCount, 1);
  execv("/proc/self/exe", argv);
  unsetenv("GOMP_SPINCOUNT");  // it was not allowed: go on as we are
}

}  // namespace precis
