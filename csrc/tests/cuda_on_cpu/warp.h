// Operations in which the lanes of a warp that are in a mask take part: __syncwarp, shuffles,
// votes.
#pragma once

#include <cstdint>
#include <cstring>

#include "tests/cuda_on_cpu/threads.h"

namespace stc::emulated {

enum class WarpOperation { sync, shuffle, ballot, all, any };

constexpr uint32_t kAllLanes = 0xffffffffu;

class Warps {
 public:
  STC_UNSANITIZED void begin_block() {
    for (int i = 0; i < threads.count(); ++i) meetings_[i].arrived = 0;
  }

  // Waits for the other lanes of `mask`, and returns what this lane gets of their values.
  STC_UNSANITIZED uint64_t meet(WarpOperation operation, uint32_t mask, uint64_t value,
                                int source_lane, Place place) {
    const int running = threads.running();
    const int lane = running % kWarpSize;
    const int first_thread = running - lane;
    Thread& thread = threads[running];
    thread.given = thread.received = value;
    thread.source_lane = source_lane;
    thread.place = place;
    if ((mask >> lane & 1) == 0) {
      report("lane %d is not in its own mask %08x at %s:%d", lane, mask, place.file, place.line);
      return value;
    }
    mask &= lanes_that_exist(first_thread);
    Meeting& meeting = meetings_[first_thread + __builtin_ctz(mask)];
    join(meeting, operation, mask, lane, place);
    char* point = &meeting.points[meeting.generation % 2];
    // Shuffles and votes do not order accesses to memory.
    const bool orders_memory = operation == WarpOperation::sync;
    if (orders_memory) happens_before(point);
    if (meeting.arrived == meeting.mask) {
      exchange(meeting, first_thread);
      go_on(meeting, first_thread, lane);
    } else {
      thread.state = State::in_warp_operation;
      threads.wait();
    }
    if (orders_memory) happens_after(point);
    return thread.received;
  }

 private:
  // Lanes that wait for each other. Masks of a warp that are in use at the same time have no lane
  // in common: the lowest lane tells them apart.
  struct Meeting {
    uint32_t mask;
    uint32_t arrived;
    WarpOperation operation;
    Place place;
    unsigned generation;
    char points[2];
  };

  // The last warp of a block may have fewer lanes; CUDA takes the others as inactive.
  STC_UNSANITIZED static uint32_t lanes_that_exist(int first_thread) {
    const int lanes = threads.count() - first_thread;
    return lanes >= kWarpSize ? kAllLanes : (1u << lanes) - 1;
  }

  STC_UNSANITIZED static void join(Meeting& meeting, WarpOperation operation, uint32_t mask,
                                   int lane, Place place) {
    if (meeting.arrived == 0) {
      meeting.mask = mask;
      meeting.operation = operation;
      meeting.place = place;
    } else if (meeting.mask != mask || meeting.operation != operation ||
               !same_place(meeting.place, place)) {
      report("warp operation mismatch: lane %d with mask %08x at %s:%d, others with %08x at %s:%d",
             lane, mask, place.file, place.line, meeting.mask, meeting.place.file,
             meeting.place.line);
    }
    meeting.arrived |= 1u << lane;
  }

  STC_UNSANITIZED static void exchange(const Meeting& meeting, int first_thread) {
    uint32_t votes = 0;
    for (int lane = 0; lane < kWarpSize; ++lane)
      if ((meeting.mask >> lane & 1) != 0 && threads[first_thread + lane].given != 0)
        votes |= 1u << lane;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      if ((meeting.mask >> lane & 1) == 0) continue;
      Thread& thread = threads[first_thread + lane];
      if (meeting.operation == WarpOperation::shuffle)
        shuffle(meeting, first_thread, lane);
      else if (meeting.operation == WarpOperation::ballot)
        thread.received = votes;
      else if (meeting.operation == WarpOperation::all)
        thread.received = votes == meeting.mask;
      else if (meeting.operation == WarpOperation::any)
        thread.received = votes != 0;
    }
  }

  STC_UNSANITIZED static void shuffle(const Meeting& meeting, int first_thread, int lane) {
    Thread& thread = threads[first_thread + lane];
    if ((meeting.mask >> thread.source_lane & 1) != 0)
      thread.received = threads[first_thread + thread.source_lane].given;
    else
      report("lane %d shuffles from lane %d outside of mask %08x at %s:%d", lane,
             thread.source_lane, meeting.mask, thread.place.file, thread.place.line);
  }

  // The lane that came last goes on without a switch; the others are made ready.
  STC_UNSANITIZED static void go_on(Meeting& meeting, int first_thread, int last_lane) {
    meeting.arrived = 0;
    ++meeting.generation;
    for (int i = 0; i < kWarpSize; ++i) {
      const int lane = order.next(i, kWarpSize);
      if ((meeting.mask >> lane & 1) != 0 && lane != last_lane)
        threads.make_ready(first_thread + lane);
    }
  }

  Meeting meetings_[kMaxThreads];
};

inline Warps warps;

// The value of another lane, or of this one where the other is out of its segment of the warp.
template <typename T>
T shuffle(uint32_t mask, T value, int source_lane, bool in_segment, Place place) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const int lane = threads.running() % kWarpSize;
  bits = warps.meet(WarpOperation::shuffle, mask, bits, in_segment ? source_lane : lane, place);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace stc::emulated
