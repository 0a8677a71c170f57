// Temporal shift: the contract that all devices fulfil.
#pragma once

#include <cstdint>

namespace stc {

// Frames in memory order: (frame, row, channel, inner). NHWC has a row per pixel and inner = 1,
// NCHW one row and inner = H*W. Channels [0, fold) come from `direction` frames later, [fold,
// 2*fold) from as many earlier, the rest from the frame itself; what lies outside the clip is zero.
template <typename T>
struct ShiftArguments {
  const T* in;
  T* out;
  int64_t frames;
  int64_t num_segments;
  int64_t rows;
  int64_t channels;
  int64_t inner;
  int64_t fold;
  int64_t direction;

  // A unit of work is a channel where there is one row, else a row.
  [[gnu::always_inline]] int64_t units_per_frame() const { return rows == 1 ? channels : rows; }
  [[gnu::always_inline]] int64_t units() const { return frames * units_per_frame(); }
};

}  // namespace stc
