#include "tests/simt/fiber.h"

#include <sys/mman.h>

#include <stdexcept>

// These sources are compiled without sanitizers, so CMake says which the program has.
#ifdef PRECIS_SIMT_TSAN
extern "C" {
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void* __tsan_get_current_fiber();
void __tsan_acquire(void* what);
void __tsan_release(void* what);
}
#define PRECIS_TSAN(...) __VA_ARGS__
#else
#define PRECIS_TSAN(...)
#endif
#ifdef PRECIS_SIMT_ASAN
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, size_t bytes);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, size_t* bytes);
void __asan_unpoison_memory_region(const volatile void* begin, size_t bytes);
}
#define PRECIS_ASAN(...) __VA_ARGS__
#else
#define PRECIS_ASAN(...)
#endif

namespace precis::simt {
namespace {

constexpr size_t kGuardBytes = 4096;
#ifdef PRECIS_SIMT_TSAN
constexpr unsigned kOrdersNothing = 1;  // a switch is no synchronisation
#endif

}  // namespace

Stacks::Stacks(size_t count) : bytes_(count * kStackBytes) {
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("simt: no memory for stacks");
  memory_ = static_cast<char*>(memory);
  for (size_t i = 0; i < count; ++i) mprotect(at(i), kGuardBytes, PROT_NONE);
}

Stacks::~Stacks() {
  PRECIS_ASAN(__asan_unpoison_memory_region(memory_, bytes_);)
  munmap(memory_, bytes_);
}

void PrepareFiber(Fiber* fiber, char* stack, size_t number, void (*entry)()) {
  ReleaseFiber(fiber);
  fiber->stack = stack;
  fiber->stack_bytes = Stacks::kStackBytes;
  PRECIS_ASAN(__asan_unpoison_memory_region(stack + kGuardBytes, fiber->stack_bytes - kGuardBytes);)
  PRECIS_TSAN(fiber->tsan = __tsan_create_fiber(0);)
  PrepareStack(fiber, number, entry);
}

void ReleaseFiber(Fiber* fiber) {
  if (fiber->stack == nullptr) return;
  PRECIS_TSAN(__tsan_destroy_fiber(fiber->tsan);)
  ReleaseStack(fiber);
  *fiber = {};
}

void AdoptThread([[maybe_unused]] Fiber* here) {
  PRECIS_TSAN(here->tsan = __tsan_get_current_fiber();)
}

void SwitchFiber(Fiber* from, Fiber* to) {
  if (from == to) return;
  PRECIS_ASAN(__sanitizer_start_switch_fiber(&from->asan_fake_stack, to->stack, to->stack_bytes);)
  PRECIS_TSAN(__tsan_switch_to_fiber(to->tsan, kOrdersNothing);)
  SwitchStack(from, to);
  PRECIS_ASAN(__sanitizer_finish_switch_fiber(from->asan_fake_stack, nullptr, nullptr);)
}

void ArriveInFiber([[maybe_unused]] Fiber* main) {
#ifdef PRECIS_SIMT_ASAN
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (main->stack != nullptr) return;
  main->stack = const_cast<char*>(static_cast<const char*>(bottom));
  main->stack_bytes = bytes;
#endif
}

void ReleaseFrom([[maybe_unused]] Fiber* fiber, [[maybe_unused]] Fiber* here,
                 [[maybe_unused]] void* what) {
  PRECIS_TSAN(__tsan_switch_to_fiber(fiber->tsan, kOrdersNothing);)
  PRECIS_TSAN(__tsan_release(what);)
  PRECIS_TSAN(__tsan_switch_to_fiber(here->tsan, kOrdersNothing);)
}

void Release([[maybe_unused]] void* what) { PRECIS_TSAN(__tsan_release(what);) }
void Acquire([[maybe_unused]] void* what) { PRECIS_TSAN(__tsan_acquire(what);) }

}  // namespace precis::simt
