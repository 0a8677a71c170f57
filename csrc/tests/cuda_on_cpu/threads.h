// The threads of the block that runs, and which of them can go on.
#pragma once

#include <cstdint>

#include "tests/cuda_on_cpu/fibers.h"
#include "tests/cuda_on_cpu/report.h"

namespace stc::emulated {

enum class State : uint8_t { not_begun, ready, at_barrier, in_warp_operation, finished };

struct Thread {
  State state;
  Fiber* fiber;
  uint3 index;
  Place place;  // of the barrier or warp operation that it is in, or was in last
  // What it gives to a warp operation, and gets.
  uint64_t given;
  uint64_t received;
  int source_lane;
};

class Threads {
 public:
  STC_UNSANITIZED void begin_block(int count) {
    count_ = count;
    num_finished_ = num_ready_ = 0;
    const int width = static_cast<int>(blockDim.x);
    const int height = static_cast<int>(blockDim.y);
    for (int i = 0; i < count; ++i) {
      all_[i] = Thread{};
      all_[i].index = {static_cast<unsigned>(i % width), static_cast<unsigned>(i / width % height),
                       static_cast<unsigned>(i / (width * height))};
      ready_[num_ready_++] = order.next(i, count);
    }
  }

  STC_UNSANITIZED int count() const { return count_; }
  STC_UNSANITIZED int num_finished() const { return num_finished_; }
  STC_UNSANITIZED bool any_ready() const { return num_ready_ > 0; }
  STC_UNSANITIZED Thread& operator[](int thread) { return all_[thread]; }
  STC_UNSANITIZED int running() const { return fibers.running()->thread; }

  STC_UNSANITIZED void make_ready(int thread) {
    all_[thread].state = State::ready;
    ready_[num_ready_++] = thread;
  }

  STC_UNSANITIZED int take_ready() {
    const int i = order.pick(num_ready_);
    const int thread = ready_[i];
    ready_[i] = ready_[--num_ready_];
    return thread;
  }

  // The last that became ready.
  STC_UNSANITIZED bool newest_has_not_begun() const {
    return num_ready_ > 0 && all_[ready_[num_ready_ - 1]].state == State::not_begun;
  }
  STC_UNSANITIZED int take_newest() { return ready_[--num_ready_]; }

  STC_UNSANITIZED void begin_on(Fiber* fiber, int thread) {
    fiber->thread = thread;
    all_[thread].fiber = fiber;
  }

  // Runs others until the thread that runs now is made ready. Its state is set before, so that it
  // can be made ready before it waits.
  STC_UNSANITIZED void wait() {
    const Thread& thread = all_[running()];
    fibers.back_to_scheduler();
    threadIdx = thread.index;
  }

  STC_UNSANITIZED void finish_running() {
    all_[running()].state = State::finished;
    ++num_finished_;
  }

 private:
  Thread all_[kMaxThreads];
  int count_;
  int num_finished_;
  int ready_[kMaxThreads];
  int num_ready_;
};

inline Threads threads;

}  // namespace stc::emulated
