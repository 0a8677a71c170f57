// How the kernels that walk over whole frames divide their work: a unit is a few pixels (NHWC) or
// one channel (NCHW) of all frames of a clip.
#pragma once

#include "common/view.h"

namespace stc {

struct FrameShape {
  int64_t clips;
  int64_t num_segments;
  int64_t channels;
  int64_t height;
  int64_t width;
  bool channels_last;

  [[gnu::always_inline]] int64_t frames() const { return clips * num_segments; }
  [[gnu::always_inline]] int64_t pixels() const { return height * width; }
  [[gnu::always_inline]] int64_t elements() const { return frames() * channels * pixels(); }
};

// The pixels, or the channel, of one unit.
struct Unit {
  int64_t clip;
  int64_t index_in_clip;
  int64_t first_pixel;
  int64_t pixels;
};

namespace {

// Enough adjacent elements that memory streams, and so few that a unit's frames stay in a cache.
inline int64_t pixels_wanted(const FrameShape& shape) {
  constexpr int64_t kElements = 8192, kFewest = 32, kMost = 128;
  const int64_t pixels = kElements / (shape.channels > 0 ? shape.channels : 1);
  return pixels < kFewest ? kFewest : pixels > kMost ? kMost : pixels;
}

inline int64_t units_per_clip(const FrameShape& shape) {
  return shape.channels_last ? ceil_div(shape.pixels(), pixels_wanted(shape)) : shape.channels;
}

inline int64_t units_of(const FrameShape& shape) { return shape.clips * units_per_clip(shape); }

inline Unit unit_of(const FrameShape& shape, int64_t unit) {
  const int64_t per_clip = units_per_clip(shape);
  const int64_t clip = unit / per_clip, index = unit % per_clip;
  if (!shape.channels_last) return {clip, index, 0, shape.pixels()};
  const int64_t first = index * shape.pixels() / per_clip;
  return {clip, index, first, (index + 1) * shape.pixels() / per_clip - first};
}

}  // namespace
}  // namespace stc
