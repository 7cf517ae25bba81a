// How long OpenMP's idle threads spin before they sleep (docs/decisions/openmp_wait.md). libgomp
// reads this from the environment before main, so the program has to start itself anew.
// Called by main, before any thread is started.
#pragma once

namespace precis {

// Replaces the process by itself with GOMP_SPINCOUNT set. Returns where the user's environment
// already says something about waiting, or where the system does not allow it.
void RestartWithBoundedSpin(char** argv);

}  // namespace precis
