// __syncthreads(): all threads of a block meet, and all at the same place.
#pragma once

#include "tests/cuda_on_cpu/threads.h"

namespace stc::emulated {

class Barrier {
 public:
  STC_UNSANITIZED void begin_block() {
    num_waiting_ = 0;
    generation_ = 0;
  }

  STC_UNSANITIZED void wait(Place place) {
    Thread& thread = threads[threads.running()];
    thread.place = place;
    if (num_waiting_ == 0)
      place_ = place;
    else if (!same_place(place_, place))
      report("divergent barrier: thread %d at %s:%d, others at %s:%d", threads.running(),
             place.file, place.line, place_.file, place_.line);
    char* point = &points_[generation_ % 2];
    happens_before(point);
    thread.state = State::at_barrier;
    ++num_waiting_;
    if (num_waiting_ == threads.count() - threads.num_finished()) {
      if (threads.num_finished() > 0)
        report("%d threads exited before __syncthreads %s:%d", threads.num_finished(), place.file,
               place.line);
      release();
    }
    threads.wait();
    happens_after(point);
  }

  // One thread less will come.
  STC_UNSANITIZED void thread_exits() {
    if (num_waiting_ == 0 || num_waiting_ < threads.count() - threads.num_finished()) return;
    report("thread %d exits while %d threads wait at __syncthreads %s:%d", threads.running(),
           num_waiting_, place_.file, place_.line);
    release();
  }

 private:
  STC_UNSANITIZED void release() {
    num_waiting_ = 0;
    ++generation_;
    order.shuffle();
    for (int i = 0; i < threads.count(); ++i) {
      const int thread = order.next(i, threads.count());
      if (threads[thread].state == State::at_barrier) threads.make_ready(thread);
    }
  }

  int num_waiting_;
  Place place_;
  // The first out of one barrier may be in the next before the last is out: two points in turn.
  unsigned generation_;
  char points_[2];
};

inline Barrier barrier;

}  // namespace stc::emulated
