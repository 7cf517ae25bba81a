// Switching stacks where nobody has written it by hand.
#include <ucontext.h>

#include "tests/simt/fiber.h"

namespace precis::simt {
namespace {

ucontext_t* ContextOf(Fiber* fiber) {
  if (fiber->context == nullptr) fiber->context = new ucontext_t;
  return static_cast<ucontext_t*>(fiber->context);
}

}  // namespace

void PrepareStack(Fiber* fiber, size_t /*number*/, void (*entry)()) {
  ucontext_t* context = ContextOf(fiber);
  getcontext(context);
  context->uc_stack.ss_sp = fiber->stack;
  context->uc_stack.ss_size = fiber->stack_bytes;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
}

void ReleaseStack(Fiber* fiber) { delete static_cast<ucontext_t*>(fiber->context); }

void SwitchStack(Fiber* from, Fiber* to) { swapcontext(ContextOf(from), ContextOf(to)); }

}  // namespace precis::simt
