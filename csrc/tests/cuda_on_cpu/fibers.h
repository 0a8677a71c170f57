// Fibers: stacks of their own, between which one thread of the operating system switches. Each runs
// a CUDA thread until that waits for others, and then goes back to the scheduler.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/cuda_on_cpu/order.h"
#include "tests/cuda_on_cpu/sanitizers.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace stc::emulated {

constexpr int kMaxThreads = 1024;  // of a block
#if defined(STC_ADDRESS_SANITIZER) || defined(STC_THREAD_SANITIZER)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif

STC_UNSANITIZED inline char* reserve_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("emulator: mmap");
    std::abort();
  }
  return static_cast<char*>(memory);
}

// Where a stack goes on when it is switched to.
#if defined(__x86_64__)
struct Context {
  void* instruction;
  void* stack_pointer;
  void* frame_pointer;
};

// swapcontext() would do, but asks the operating system for the signal mask, which takes longer
// than all else. Not inlined: the registers that AVX-512 adds are not named below, and any call may
// change them.
STC_UNSANITIZED __attribute__((noinline)) inline void switch_context(Context* from, Context* to) {
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rax, 0(%0)\n\t"
      "movq %%rsp, 8(%0)\n\t"
      "movq %%rbp, 16(%0)\n\t"
      "movq 8(%1), %%rsp\n\t"
      "movq 16(%1), %%rbp\n\t"
      "jmpq *0(%1)\n"
      "1:\n\t"
      "endbr64\n\t"
      : "+D"(from), "+S"(to)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
        "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

STC_UNSANITIZED inline void start_context(Context& context, char* stack, void (*function)()) {
  // As after a call, with no address to return to: 8 bytes off a multiple of 16.
  char* top = stack + kStackBytes - 64 - 8;
  *reinterpret_cast<void**>(top) = nullptr;
  context = {reinterpret_cast<void*>(function), top, nullptr};
}
#else
using Context = ucontext_t;

STC_UNSANITIZED inline void switch_context(Context* from, Context* to) { swapcontext(from, to); }

STC_UNSANITIZED inline void start_context(Context& context, char* stack, void (*function)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, function, 0);
}
#endif

struct Fiber {
  Context context;
  SanitizedStack sanitized;
  char* stack;
  int thread;  // the thread of the block that it runs
};

class Fibers {
 public:
  STC_UNSANITIZED Fiber* running() const { return running_; }

  STC_UNSANITIZED void enter(Fiber* fiber) {
    running_ = fiber;
    leave_stack(scheduler_.sanitized, fiber->sanitized);
    switch_context(&scheduler_.context, &fiber->context);
    enter_stack(scheduler_.sanitized);
  }

  // Called on a fiber; returns when that is entered again, perhaps in a later launch, from another
  // thread of the operating system.
  STC_UNSANITIZED void back_to_scheduler() {
    Fiber* fiber = running_;
    leave_stack(fiber->sanitized, scheduler_.sanitized);
    switch_context(&fiber->context, &scheduler_.context);
    enter_stack(fiber->sanitized, &scheduler_.sanitized);
  }

  // First of all on a new fiber.
  STC_UNSANITIZED void begin() { enter_stack(SanitizedStack{}, &scheduler_.sanitized); }

  // A fiber that calls `function`, which never returns, or one that has called it and is free.
  //
  // What one fiber does is in order, so a thread that ran on the fiber of a finished one would hide
  // races between the two. Where races are looked for, each thread of a block has a fiber of its
  // own, and fibers are used again only in the next block.
  STC_UNSANITIZED Fiber* get(int thread, void (*function)()) {
    if (!kFindsRaces && num_free_ > 0) return free_[--num_free_];
    Fiber* fiber = &all_[kFindsRaces ? (thread + rotation_) % kMaxThreads : num_created_++];
    if (!fiber->stack) create(*fiber, function);
    return fiber;
  }

  STC_UNSANITIZED void set_free(Fiber* fiber) {
    if (!kFindsRaces) free_[num_free_++] = fiber;
  }

  // Threads then run on other fibers than those with the same index in the block before.
  STC_UNSANITIZED void rotate() { rotation_ = static_cast<int>(order.below(kMaxThreads)); }

  STC_UNSANITIZED void begin_launch() { adopt_tsan_fiber(scheduler_.sanitized); }

  // Of threads that never finish: they cannot be unwound, so their stacks are lost.
  STC_UNSANITIZED void abandon_all() {
    num_created_ = num_free_ = 0;
    for (Fiber& fiber : all_) fiber.stack = nullptr;
  }

 private:
  STC_UNSANITIZED void create(Fiber& fiber, void (*function)()) {
    // Below the stack, what faults: a kernel whose variables are too large for it stops there.
    const size_t guard_bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    char* guard = reserve_memory(guard_bytes + kStackBytes);
    mprotect(guard, guard_bytes, PROT_NONE);
    fiber.stack = guard + guard_bytes;
    fiber.sanitized = SanitizedStack{};
    fiber.sanitized.bottom = fiber.stack;
    fiber.sanitized.bytes = kStackBytes;
    create_tsan_fiber(fiber.sanitized);
    start_context(fiber.context, fiber.stack, function);
  }

  Fiber all_[kMaxThreads];
  Fiber* free_[kMaxThreads];
  int num_created_;
  int num_free_;
  int rotation_;
  Fiber* running_;
  Fiber scheduler_;  // its stack is that of the operating system's thread
};

inline Fibers fibers;

}  // namespace stc::emulated
