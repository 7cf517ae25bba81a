// What tests of a real device share.
//
// Thread rule: one test thread.
#pragma once

#include "common/status.h"
#include "gtest/gtest.h"

namespace precis {

// OK, or which of driver, device and library this machine lacks. (Under emulation it lacks nothing:
// tests/kernels/cuda/emulated_factory.cc.)
Status FindTestDevice();

}  // namespace precis

// A backend that cannot be made where the machine lacks nothing is a failure, not a reason.
#define PRECIS_NEEDS_A_DEVICE() \
  if (const ::precis::Status lacks = ::precis::FindTestDevice(); !lacks.ok()) GTEST_SKIP() << lacks
