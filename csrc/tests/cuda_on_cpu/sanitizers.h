// What the address and the thread sanitizer are told about fibers and memory. In builds without
// them these functions do nothing.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define STC_ADDRESS_SANITIZER 1
#elif defined(__SANITIZE_THREAD__)
#define STC_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STC_ADDRESS_SANITIZER 1
#elif __has_feature(thread_sanitizer)
#define STC_THREAD_SANITIZER 1
#endif
#endif

#if defined(STC_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(STC_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

// The emulator's own memory is shared by all fibers without any order that the thread sanitizer
// knows of, and its functions leave one stack in the middle and return on another: so they are not
// instrumented, and not inlined into the kernels, which are.
#if defined(STC_ADDRESS_SANITIZER) || defined(STC_THREAD_SANITIZER)
#define STC_UNSANITIZED __attribute__((noinline, no_sanitize("thread"), no_sanitize("address")))
#else
#define STC_UNSANITIZED
#endif

namespace stc::emulated {

#if defined(STC_THREAD_SANITIZER)
constexpr bool kFindsRaces = true;
#else
constexpr bool kFindsRaces = false;
#endif

// Everything done before the call comes before what is done after happens_after(the same point).
STC_UNSANITIZED inline void happens_before([[maybe_unused]] void* point) {
#if defined(STC_THREAD_SANITIZER)
  __tsan_release(point);
#endif
}

STC_UNSANITIZED inline void happens_after([[maybe_unused]] void* point) {
#if defined(STC_THREAD_SANITIZER)
  __tsan_acquire(point);
#endif
}

// An access to forbidden memory is an error.
STC_UNSANITIZED inline void forbid_memory([[maybe_unused]] const char* memory,
                                          [[maybe_unused]] size_t bytes) {
#if defined(STC_ADDRESS_SANITIZER)
  __asan_poison_memory_region(memory, bytes);
#endif
}

STC_UNSANITIZED inline void allow_memory([[maybe_unused]] const char* memory,
                                         [[maybe_unused]] size_t bytes) {
#if defined(STC_ADDRESS_SANITIZER)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

// A stack, and what the sanitizers keep of the code that runs on it.
struct SanitizedStack {
  const void* bottom;
  size_t bytes;
  void* asan_frames;
  void* tsan_fiber;
};

// Once for each fiber.
STC_UNSANITIZED inline void create_tsan_fiber([[maybe_unused]] SanitizedStack& stack) {
#if defined(STC_THREAD_SANITIZER)
  stack.tsan_fiber = __tsan_create_fiber(0);
#endif
}

// For the stack of the operating system's thread that calls it.
STC_UNSANITIZED inline void adopt_tsan_fiber([[maybe_unused]] SanitizedStack& stack) {
#if defined(STC_THREAD_SANITIZER)
  stack.tsan_fiber = __tsan_get_current_fiber();
#endif
}

// happens_before(point), said on behalf of a fiber that is never entered again.
STC_UNSANITIZED inline void happened_before([[maybe_unused]] const SanitizedStack& abandoned,
                                            [[maybe_unused]] void* point) {
#if defined(STC_THREAD_SANITIZER)
  void* running = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(abandoned.tsan_fiber, __tsan_switch_to_fiber_no_sync);
  __tsan_release(point);
  __tsan_switch_to_fiber(running, __tsan_switch_to_fiber_no_sync);
#endif
}

// Right before the switch. A switch alone puts nothing in order: only the points above do.
STC_UNSANITIZED inline void leave_stack([[maybe_unused]] SanitizedStack& from,
                                        [[maybe_unused]] const SanitizedStack& to) {
#if defined(STC_ADDRESS_SANITIZER)
  __sanitizer_start_switch_fiber(&from.asan_frames, to.bottom, to.bytes);
#elif defined(STC_THREAD_SANITIZER)
  __tsan_switch_to_fiber(to.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
}

// Right after the switch, on the stack switched to. The bounds of the one that was left are noted
// where `left` is given: the operating system's threads do not tell theirs in any other way.
STC_UNSANITIZED inline void enter_stack([[maybe_unused]] const SanitizedStack& entered,
                                        [[maybe_unused]] SanitizedStack* left = nullptr) {
#if defined(STC_ADDRESS_SANITIZER)
  if (left)
    __sanitizer_finish_switch_fiber(entered.asan_frames, &left->bottom, &left->bytes);
  else
    __sanitizer_finish_switch_fiber(entered.asan_frames, nullptr, nullptr);
#endif
}

}  // namespace stc::emulated
