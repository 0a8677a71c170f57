// Launches: the blocks of a grid one after the other, and in each of them threads that take turns.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "tests/cuda_on_cpu/barrier.h"
#include "tests/cuda_on_cpu/shared_memory.h"
#include "tests/cuda_on_cpu/threads.h"
#include "tests/cuda_on_cpu/warp.h"

namespace stc::emulated {

class Launches {
 public:
  // kernel(arguments) is what each thread runs. The launch returns when all of them have.
  STC_UNSANITIZED cudaError_t run(dim3 grid, dim3 block, size_t shared_bytes, void (*kernel)(void*),
                                  void* arguments) {
    const std::lock_guard<std::mutex> lock(one_launch_at_a_time_);
    clear_failure();
    if (!is_valid(grid, block, shared_bytes)) return cudaErrorInvalidConfiguration;
    under_way_ = this;
    gridDim = grid;
    blockDim = block;
    kernel_ = kernel;
    arguments_ = arguments;
    order.read_environment();
    fibers.begin_launch();
    shared_memory.begin_launch(shared_bytes);
    finds_races_between_blocks_ =
        kFindsRaces && std::getenv("STC_EMULATED_RACES_BETWEEN_BLOCKS") != nullptr;
    const uint64_t num_blocks = uint64_t{grid.x} * grid.y * grid.z;
    for (uint64_t i = 0; i < num_blocks && failure.error == cudaSuccess; ++i) {
      set_block_index(order.block(i, num_blocks));
      run_block();
    }
    happens_after(&block_ends_);
    return failure.error;
  }

 private:
  STC_UNSANITIZED static bool is_valid(dim3 grid, dim3 block, size_t shared_bytes) {
    const uint64_t num_threads = uint64_t{block.x} * block.y * block.z;
    return num_threads > 0 && block.x <= kMaxThreads && block.y <= kMaxThreads && block.z <= 64 &&
           num_threads <= kMaxThreads && grid.x > 0 && grid.y > 0 && grid.z > 0 &&
           grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535 &&
           shared_bytes <= kMaxSharedBytes;
  }

  STC_UNSANITIZED static void set_block_index(uint64_t block) {
    blockIdx.x = static_cast<unsigned>(block % gridDim.x);
    blockIdx.y = static_cast<unsigned>(block / gridDim.x % gridDim.y);
    blockIdx.z = static_cast<unsigned>(block / gridDim.x / gridDim.y);
  }

  STC_UNSANITIZED void run_block() {
    const bool may_race_with_the_last = finds_races_between_blocks_ && separate_from_the_last();
    shared_memory.begin_block();
    threads.begin_block(static_cast<int>(blockDim.x * blockDim.y * blockDim.z));
    barrier.begin_block();
    warps.begin_block();
    if (!may_race_with_the_last) happens_after(&block_ends_);
    happens_before(&block_begins_);
    while (threads.any_ready()) {
      const int thread = threads.take_ready();
      if (threads[thread].state == State::not_begun)
        threads.begin_on(fibers.get(thread, run_threads), thread);
      fibers.enter(threads[thread].fiber);
    }
    if (threads.num_finished() < threads.count()) report_deadlock();
  }

  // Blocks run one after the other. For their races to be seen they must have nothing in common
  // that would put them in order: neither fibers nor shared memory. False where that runs out.
  STC_UNSANITIZED static bool separate_from_the_last() {
    fibers.rotate();
    return shared_memory.use_next_arena();
  }

  STC_UNSANITIZED void report_deadlock() {
    report("deadlock: %d of %d threads never finish", threads.count() - threads.num_finished(),
           threads.count());
    int num_shown = 0;
    for (int i = 0; i < threads.count(); ++i) {
      const Thread& thread = threads[i];
      if (thread.state == State::finished) continue;
      happened_before(thread.fiber->sanitized, &block_ends_);
      if (num_shown++ >= 4) continue;
      std::fprintf(stderr, "    thread %d waits at %s:%d\n", i, thread.place.file,
                   thread.place.line);
    }
    fibers.abandon_all();
  }

  // What a fiber does. It never returns: it is entered again for other threads.
  STC_UNSANITIZED static void run_threads() {
    fibers.begin();
    for (;;) {
      under_way_->run_thread();
      Fiber* fiber = fibers.running();
      // Most kernels have threads that never wait: the next one can do without a switch.
      if (!kFindsRaces && threads.newest_has_not_begun()) {
        threads.begin_on(fiber, threads.take_newest());
      } else {
        fibers.set_free(fiber);
        fibers.back_to_scheduler();
      }
    }
  }

  STC_UNSANITIZED void run_thread() {
    threadIdx = threads[threads.running()].index;
    happens_after(&block_begins_);
    kernel_(arguments_);
    happens_before(&block_ends_);
    threads.finish_running();
    barrier.thread_exits();
  }

  static inline Launches* under_way_ = nullptr;
  std::mutex one_launch_at_a_time_;
  void (*kernel_)(void*) = nullptr;
  void* arguments_ = nullptr;
  bool finds_races_between_blocks_ = false;
  char block_begins_ = 0;
  char block_ends_ = 0;
};

inline Launches launches;

// Runs call() in each thread of the grid.
template <typename Call>
cudaError_t run_grid(dim3 grid, dim3 block, size_t shared_bytes, Call call) {
  return launches.run(
      grid, block, shared_bytes, [](void* argument) { (*static_cast<Call*>(argument))(); }, &call);
}

}  // namespace stc::emulated
