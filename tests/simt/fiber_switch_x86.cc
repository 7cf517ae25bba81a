// Switching stacks on x86-64 (System V): the registers that a call preserves, and the stack
// pointer. A block of 256 threads switches some thousand times; ucontext makes two system calls for
// each.
#include "tests/simt/fiber.h"

extern "C" void precis_simt_switch(void** save, void* load);
__asm__(
    ".text\n"
    ".type precis_simt_switch,@function\n"
    "precis_simt_switch:\n"
    "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp,(%rdi)\n"
    "  mov %rsi,%rsp\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n"
    "  ret\n"
    ".size precis_simt_switch,.-precis_simt_switch\n");

namespace precis::simt {

void PrepareStack(Fiber* fiber, size_t number, void (*entry)()) {
  constexpr size_t kSavedRegisters = 6;
  constexpr size_t kStagger = 320;  // a multiple of 16, of no power of two
  const size_t offset = number * kStagger % (size_t{32} << 10);
  auto** top = reinterpret_cast<void**>(fiber->stack + fiber->stack_bytes - offset);
  *--top = nullptr;  // what `entry` would return to; leaves the stack as the ABI wants it
  *--top = reinterpret_cast<void*>(entry);
  fiber->stack_pointer = top - kSavedRegisters;
}

void ReleaseStack(Fiber*) {}

void SwitchStack(Fiber* from, Fiber* to) {
  precis_simt_switch(&from->stack_pointer, to->stack_pointer);
}

}  // namespace precis::simt
