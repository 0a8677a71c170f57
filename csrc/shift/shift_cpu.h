#pragma once

#include "common/vector.h"
#include "shift/shift.h"

namespace stc {
namespace {

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Adjacent channels of a row that have one source: `step` elements away, or zero.
struct Segment {
  int64_t first;
  int64_t size;
  int64_t step;
  bool is_zero;
};

// Channels [first, end) from `frames_later` frames later, as far as they lie in [part_first,
// part_end).
template <typename T>
inline Segment segment_of(const ShiftArguments<T>& a, int64_t frame, int64_t frames_later,
                          int64_t first, int64_t end, int64_t part_first, int64_t part_end) {
  const int64_t from = larger(first, part_first);
  const int64_t to = larger(from, smaller(end, part_end));
  const int64_t time = frame % a.num_segments + frames_later;
  return {from * a.inner, (to - from) * a.inner, frames_later * a.rows * a.channels * a.inner,
          time < 0 || time >= a.num_segments};
}

// Channels [part_first, part_end) of `rows` rows. The output is written in the order of memory: to
// go over it once per segment takes twice as long.
template <typename T>
inline void shift_rows(const ShiftArguments<T>& a, int64_t frame, int64_t first_row, int64_t rows,
                       int64_t part_first, int64_t part_end) {
  const Segment segments[] = {
      segment_of(a, frame, a.direction, 0, a.fold, part_first, part_end),
      segment_of(a, frame, -a.direction, a.fold, 2 * a.fold, part_first, part_end),
      segment_of(a, frame, 0, 2 * a.fold, a.channels, part_first, part_end)};
  const int64_t pitch = a.channels * a.inner;
  const int64_t offset = (frame * a.rows + first_row) * pitch;
  const T* from = a.in + offset;
  T* to = a.out + offset;
  for (int64_t row = 0; row < rows; ++row, from += pitch, to += pitch) {
    for (const Segment& segment : segments) {
      if (segment.is_zero) {
        zero_elements(to + segment.first, segment.size);
      } else {
        prefetch_page_ahead(from + segment.first + segment.step, segment.size);
        copy_elements(to + segment.first, from + segment.first + segment.step, segment.size);
      }
    }
  }
}

template <typename T>
void shift_forward(const ShiftArguments<T>& a, int64_t begin, int64_t end) {
  const int64_t per_frame = a.units_per_frame();
  for (int64_t unit = begin; unit < end;) {
    const int64_t frame = unit / per_frame;
    const int64_t first = unit % per_frame;
    const int64_t count = smaller(per_frame - first, end - unit);
    if (a.rows > 1) {
      shift_rows(a, frame, first, count, 0, a.channels);
    } else {
      shift_rows(a, frame, 0, 1, first, first + count);
    }
    unit += count;
  }
}

}  // namespace
}  // namespace stc
