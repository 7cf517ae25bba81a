#include "tests/support/allocation_counter.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string_view>

namespace {

std::atomic<bool> counting{false};
std::atomic<uint64_t> ours{0};

bool FromLibrary(void* caller) {
  Dl_info info{};
  return dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
         std::string_view(info.dli_fname).find("libdnnl") != std::string_view::npos;
}

void* Allocate(size_t bytes, size_t alignment, void* caller) {
  if (counting && !FromLibrary(caller)) ++ours;
  void* p = alignment == 0
                ? std::malloc(bytes == 0 ? 1 : bytes)
                : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (p == nullptr) std::abort();
  return p;
}

}  // namespace

// Not inlined: GCC takes a visible free() of a new'd pointer for a mistake.
[[gnu::noinline]] void* operator new(size_t bytes) {
  return Allocate(bytes, 0, __builtin_return_address(0));
}
[[gnu::noinline]] void* operator new[](size_t bytes) {
  return Allocate(bytes, 0, __builtin_return_address(0));
}
[[gnu::noinline]] void* operator new(size_t bytes, std::align_val_t alignment) {
  return Allocate(bytes, static_cast<size_t>(alignment), __builtin_return_address(0));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace precis {

uint64_t CountAllocations(const std::function<void()>& act) {
  ours = 0;
  counting = true;
  act();
  counting = false;
  return ours;
}

}  // namespace precis
