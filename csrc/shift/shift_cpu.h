#pragma once

#include "common/vector.h"
#include "shift/shift.h"

namespace stc {
namespace {

// Rows and channels of one frame.
struct FramePart {
  int64_t first_row;
  int64_t end_row;
  int64_t first_channel;
  int64_t end_channel;
};

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Copies channels [first, end) of the part's rows from `step` frames later.
template <typename T>
inline void shift_channels(const ShiftArguments<T>& a, int64_t frame, const FramePart& part,
                           int64_t first, int64_t end, int64_t step) {
  first = larger(first, part.first_channel);
  end = smaller(end, part.end_channel);
  if (first >= end) return;
  const int64_t source_time = frame % a.num_segments + step;
  const bool inside = source_time >= 0 && source_time < a.num_segments;
  const int64_t pitch = a.channels * a.inner;
  const int64_t size = (end - first) * a.inner;
  const int64_t offset = (frame * a.rows + part.first_row) * pitch + first * a.inner;
  const int64_t rows = part.end_row - part.first_row;
  T* to = a.out + offset;
  if (inside) {
    const T* from = a.in + offset + step * a.rows * pitch;
    for (int64_t row = 0; row < rows; ++row)
      copy_elements(to + row * pitch, from + row * pitch, size);
  } else {
    for (int64_t row = 0; row < rows; ++row) zero_elements(to + row * pitch, size);
  }
}

template <typename T>
inline void shift_part(const ShiftArguments<T>& a, int64_t frame, const FramePart& part) {
  shift_channels(a, frame, part, 0, a.fold, a.direction);
  shift_channels(a, frame, part, a.fold, 2 * a.fold, -a.direction);
  shift_channels(a, frame, part, 2 * a.fold, a.channels, 0);
}

template <typename T>
void shift_forward(const ShiftArguments<T>& a, int64_t begin, int64_t end) {
  // The three groups of channels share cache lines: few rows at a time keep them in the first
  // level.
  constexpr int64_t kPartBytes = 8192;
  const int64_t row_bytes = a.channels * a.inner * static_cast<int64_t>(sizeof(T));
  const int64_t rows_per_part = larger(1, kPartBytes / larger(1, row_bytes));
  const int64_t per_frame = a.units_per_frame();
  for (int64_t unit = begin; unit < end;) {
    const int64_t frame = unit / per_frame;
    const int64_t first = unit % per_frame;
    const int64_t left = smaller(per_frame - first, end - unit);
    const int64_t count = a.rows > 1 ? smaller(left, rows_per_part) : left;
    const FramePart part = a.rows > 1 ? FramePart{first, first + count, 0, a.channels}
                                      : FramePart{0, 1, first, first + count};
    shift_part(a, frame, part);
    unit += count;
  }
}

}  // namespace
}  // namespace stc
