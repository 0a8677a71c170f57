// The frames that take every path of the kernels that walk over whole ones, and their elements.
#pragma once

#include <algorithm>
#include <ostream>
#include <utility>
#include <vector>

#include "common/work.h"
#include "tests/buffer.h"

namespace stc {

inline std::ostream& operator<<(std::ostream& out, const FrameShape& shape) {
  return out << "(clips " << shape.clips << ", num_segments " << shape.num_segments << ", channels "
             << shape.channels << ", height " << shape.height << ", width " << shape.width
             << (shape.channels_last ? ", NHWC)" : ", NCHW)");
}

}  // namespace stc

namespace stc::test {

inline FrameShape with_channels(FrameShape shape, int64_t channels) {
  shape.channels = channels;
  return shape;
}

// Each frame as a clip of its own.
inline FrameShape by_themselves(FrameShape shape) {
  shape.clips = shape.frames();
  shape.num_segments = 1;
  return shape;
}

inline int64_t offset_of(const FrameShape& shape, int64_t frame, int64_t channel, int64_t pixel) {
  return shape.channels_last ? (frame * shape.pixels() + pixel) * shape.channels + channel
                             : (frame * shape.channels + channel) * shape.pixels() + pixel;
}

// body(frame, channel, pixel)
template <typename Body>
void for_each_element(const FrameShape& shape, const Body& body) {
  for (int64_t frame = 0; frame < shape.frames(); ++frame)
    for (int64_t channel = 0; channel < shape.channels; ++channel)
      for (int64_t pixel = 0; pixel < shape.pixels(); ++pixel) body(frame, channel, pixel);
}

inline std::vector<FrameShape> frame_shapes() {
  std::vector<FrameShape> shapes;
  for (const bool channels_last : {false, true}) {
    const auto add = [&](int64_t clips, int64_t num_segments, int64_t channels, int64_t height,
                         int64_t width) {
      shapes.push_back({clips, num_segments, channels, height, width, channels_last});
    };
    // Lines with every remainder of vectors.
    for (int64_t size = 1; size <= 20; ++size) {
      add(1, 2, size, 1, 6);
      add(1, 2, 3, 1, size);
    }
    for (const int64_t size : {31, 32, 33, 36, 63, 64, 65}) {
      add(1, 2, size, 5, 1);
      add(1, 2, 3, size, 1);
    }
    for (const int64_t num_segments : {1, 2, 3, 8}) {
      add(1, num_segments, 1, 1, 1);
      add(3, num_segments, 9, 2, 3);
    }
    // As many pixels as one unit has at most, and more.
    add(2, 3, 5, 8, 16);
    add(2, 3, 5, 3, 43);
    add(1, 2, 65, 13, 11);
    add(2, 1, 100, 9, 9);
    add(1, 2, 100, 13, 13);
    add(2, 2, 257, 4, 8);
    add(1, 2, 300, 7, 5);
    add(1, 1, 2, 29, 37);
  }
  return shapes;
}

// A few of them, for what takes many more cases than one.
inline std::vector<FrameShape> few_frame_shapes() {
  std::vector<FrameShape> shapes;
  for (const bool channels_last : {false, true})
    for (const int64_t channels : {5, 24}) {
      shapes.push_back({2, 1, channels, 1, 1, channels_last});
      shapes.push_back({2, 3, channels, 5, 7, channels_last});
      shapes.push_back({2, 2, channels, 13, 12, channels_last});
    }
  return shapes;
}

// The rows of sums that a kernel leaves for sum_rows, and which of them a pixel adds to.
class SumRows {
 public:
  // A row per clip and set of its pixels.
  SumRows(const FrameShape& shape, std::vector<int64_t> sets, int64_t per_clip)
      : rows_(shape.clips * per_clip),
        most_terms_(shape.num_segments * shape.pixels()),
        per_clip_(per_clip),
        sets_(std::move(sets)) {}
  // One for all.
  explicit SumRows(const FrameShape& shape)
      : rows_(1),
        most_terms_(shape.frames() * shape.pixels()),
        per_clip_(0),
        sets_(static_cast<size_t>(shape.pixels())) {}

  int64_t rows() const { return rows_; }
  double most_terms() const { return static_cast<double>(most_terms_); }
  int64_t row_of(int64_t clip, int64_t pixel) const {
    return clip * per_clip_ + sets_[static_cast<size_t>(pixel)];
  }

 private:
  int64_t rows_;
  int64_t most_terms_;
  int64_t per_clip_;
  std::vector<int64_t> sets_;
};

// What a sum is, and the magnitudes of its terms, which its rounding errors are relative to.
struct Sum {
  double value = 0;
  double magnitudes = 0;

  void add(double term) {
    value += term;
    magnitudes += std::fabs(term);
  }
};

// A sum as an element of T, no term of which is rounded more than `roundings` times. Twice: the
// naive loops round as well. Sums of sixteenths are exact, and so is it known how they are rounded.
template <typename T>
Expected rounded(const Sum& sum, Values values, double roundings) {
  if (values == Values::sixteenths) return {to_double(from_double<T>(sum.value))};
  const double error = 2.02 * roundings * kUnitRoundoff<Accumulate<T>> * sum.magnitudes;
  const double last = 1.01 * kUnitRoundoff<T> * (std::fabs(sum.value) + error);
  return {sum.value, error + last + smallest_step<T>()};
}

inline double relu(double value) { return value < 0 ? 0 : value; }

// What a ReLU is applied to is factor * element + shift. Sixteenths leave no doubt about its sign;
// of other values, none may be left to rounding errors: shifts stay away from zero, and elements
// that bring them there are replaced.
template <typename E>
void fill_shifts(Buffer<E>& shifts, Values values, Random& random) {
  fill(shifts, values, random);
  if (values == Values::sixteenths) return;
  for (int64_t i = 0; i < shifts.size(); ++i)
    if (std::fabs(shifts[i]) < 0.25) shifts[i] = static_cast<E>(0.5);
}

template <typename T>
void keep_from_zero(T& element, double factor, double shift, Values values) {
  constexpr double kDoubtful = 1.0 / 16;
  if (values != Values::sixteenths && std::fabs(factor * to_double(element) + shift) < kDoubtful)
    element = from_double<T>(0);
}

}  // namespace stc::test
