#pragma once

#include "common/affine_lines.h"
#include "shift/shift_split.h"

namespace stc {
namespace {

// A line of `spatial`, or of the frames it comes from, put together from three frames: channels
// [0, fold) and [fold, 2*fold) lie in neighbours, where the clip has them, the others in the frame
// itself.
template <typename T>
struct ShiftedLine {
  using E = Accumulate<T>;

  Line<T> here;
  int64_t fold;
  int64_t to_first;   // elements to the neighbour of channels [0, fold); zero: there is none
  int64_t to_second;  // and of [fold, 2*fold)

  template <int Lanes>
  STC_INLINE static Vector<E, Lanes> lane_numbers() {
    Vector<E, Lanes> numbers;
    for (int lane = 0; lane < Lanes; ++lane) numbers[lane] = static_cast<E>(lane);
    return numbers;
  }

  // `first`, `second` and `rest` in the lanes of their channels.
  template <int Lanes, typename V>
  STC_INLINE V woven(V first, V second, V rest, int64_t i) const {
    const V numbers = lane_numbers<Lanes>();
    const V others = numbers < static_cast<E>(2 * fold - i) ? second : rest;
    return numbers < static_cast<E>(fold - i) ? first : others;
  }

  template <int Lanes>
  STC_INLINE Vector<E, Lanes> load(int64_t i) const {
    using V = Vector<E, Lanes>;
    if (i >= 2 * fold) return here.template load<Lanes>(i);
    const bool has_first = i < fold && to_first != 0;
    const bool has_second = i + Lanes > fold && to_second != 0;
    const V first = has_first ? here.template load<Lanes>(i + to_first) : V{};
    const V second = has_second ? here.template load<Lanes>(i + to_second) : V{};
    const V rest = i + Lanes > 2 * fold ? here.template load<Lanes>(i) : V{};
    return woven<Lanes>(first, second, rest, i);
  }

  template <int Lanes, typename V>
  STC_INLINE V kept(V result, int64_t i) const {
    if (i >= 2 * fold || (to_first != 0 && to_second != 0)) return result;
    return woven<Lanes>(to_first != 0 ? result : V{}, to_second != 0 ? result : V{}, result, i);
  }
};

template <typename T>
struct SplitLayout {
  using E = Accumulate<T>;

  const ShiftSplitArguments<T>& a;

  int64_t temporal_channels() const { return a.shape.channels - a.spatial_channels; }
  int64_t grid_width() const { return ceil_div(a.shape.width, a.stride); }
  int64_t grid_pixels() const { return ceil_div(a.shape.height, a.stride) * grid_width(); }

  // Of every stride-th pixel; below zero for the others.
  int64_t grid_pixel_of(int64_t pixel) const {
    if (a.stride == 1) return pixel;
    const int64_t row = pixel / a.shape.width, column = pixel % a.shape.width;
    if (row % a.stride != 0 || column % a.stride != 0) return -1;
    return row / a.stride * grid_width() + column / a.stride;
  }

  // Frames from `frame` to where the shift takes a channel of `spatial` from (direction 1), or to
  // (direction -1).
  int64_t frames_away(int64_t channel, int64_t direction) const {
    return channel < a.fold ? direction : channel < 2 * a.fold ? -direction : 0;
  }

  bool is_in_clip(int64_t frame, int64_t away) const {
    const int64_t time = frame % a.num_segments + away;
    return time >= 0 && time < a.num_segments;
  }

  template <typename P>
  P* plane_of(P* frames, int64_t frame, int64_t channels, int64_t channel) const {
    return frames + (frame * channels + channel) * a.shape.pixels();
  }

  // A line of `channels` channels, of which those that are shifted lie in neighbours of `frame`.
  ShiftedLine<T> shifted(const T* frames, int64_t frame, int64_t pixel, int64_t channels,
                         int64_t direction) const {
    const int64_t pixels = a.shape.pixels(), step = direction * pixels * channels;
    return {{frames + (frame * pixels + pixel) * channels},
            a.fold,
            is_in_clip(frame, direction) ? step : 0,
            is_in_clip(frame, -direction) ? -step : 0};
  }

  AffineValues<E> values(int64_t channel) const {
    return {a.scale + channel, a.shift + channel, &kOne<E>};
  }
};

// work.spatial(frame, pixel) for the first channels of all pixels of a unit, and
// work.temporal(frame, pixel, grid pixel) for the others.
template <typename T, typename Work>
inline void for_each_pixel(const SplitLayout<T>& layout, const Unit& unit, const Work& work) {
  for (int64_t pixel = unit.first_pixel; pixel < unit.first_pixel + unit.pixels; ++pixel) {
    work.spatial(unit.clip, pixel);
    work.temporal(unit.clip, pixel, layout.grid_pixel_of(pixel));
  }
}

// work.spatial_plane(frame, channel, frames away), work.temporal_plane(frame, channel) or
// work.strided_plane(frame, channel) for the unit's plane.
template <typename T, typename Work>
inline void for_plane(const SplitLayout<T>& layout, int64_t direction, const Unit& unit,
                      const Work& work) {
  const int64_t frame = unit.clip, channel = unit.index_in_clip;
  if (channel < layout.a.spatial_channels) {
    work.spatial_plane(frame, channel, layout.frames_away(channel, direction));
  } else if (layout.a.stride == 1) {
    work.temporal_plane(frame, channel);
  } else {
    work.strided_plane(frame, channel);
  }
}

template <typename T, typename Work>
inline void for_unit(const SplitLayout<T>& layout, int64_t direction, int64_t index,
                     const Work& work) {
  const Unit unit = unit_of(layout.a.shape, index);
  if (layout.a.shape.channels_last) {
    for_each_pixel(layout, unit, work);
  } else {
    for_plane(layout, direction, unit, work);
  }
}

// Rows of a plane in NCHW of which only every stride-th element has a place in `temporal`.
template <typename T>
class StridedPlane {
 public:
  static constexpr int64_t kMostElements = 512;

  StridedPlane(const SplitLayout<T>& layout, int64_t frame, int64_t channel)
      : layout_(layout),
        plane_((frame * layout.a.shape.channels + channel) * layout.a.shape.pixels()),
        grid_plane_((frame * layout.temporal_channels() + channel - layout.a.spatial_channels) *
                    layout.grid_pixels()) {}

  // body(offset in the plane, offset in the grid, elements on the grid)
  template <typename Body>
  void for_each_run_on_grid(const Body& body) const {
    const auto& a = layout_.a;
    for (int64_t row = 0; row < a.shape.height; row += a.stride)
      for (int64_t first = 0; first < layout_.grid_width(); first += kMostElements) {
        const int64_t left = layout_.grid_width() - first;
        body(plane_ + row * a.shape.width + first * a.stride,
             grid_plane_ + row / a.stride * layout_.grid_width() + first,
             left < kMostElements ? left : kMostElements);
      }
  }

  // body(offset in the plane, elements, offset in the grid of the first, or -1 for rows beside it)
  template <typename Body>
  void for_each_run(const Body& body) const {
    const auto& a = layout_.a;
    const int64_t most = kMostElements / a.stride > 0 ? kMostElements / a.stride * a.stride : 1;
    for (int64_t row = 0; row < a.shape.height; ++row)
      for (int64_t first = 0; first < a.shape.width; first += most) {
        const int64_t left = a.shape.width - first;
        const bool on_grid = row % a.stride == 0 && first % a.stride == 0;
        const int64_t grid = grid_plane_ + row / a.stride * layout_.grid_width() + first / a.stride;
        body(plane_ + row * a.shape.width + first, left < most ? left : most, on_grid ? grid : -1);
      }
  }

 private:
  const SplitLayout<T>& layout_;
  int64_t plane_;
  int64_t grid_plane_;
};

template <typename T>
inline Line<T> every_stride_th(T* to, const T* from, int64_t size, int64_t stride) {
  for (int64_t i = 0; i < size; ++i) to[i] = from[i * stride];
  return {to};
}

template <typename T>
struct SplitForward {
  SplitLayout<T> layout;

  void spatial(int64_t frame, int64_t pixel) const {
    const auto& a = layout.a;
    const int64_t row = frame * a.shape.pixels() + pixel;
    affine_relu_line<true, false>(a.spatial + row * a.spatial_channels,
                                  layout.shifted(a.u, frame, pixel, a.shape.channels, 1),
                                  a.spatial_channels, layout.values(0));
  }

  void temporal(int64_t frame, int64_t pixel, int64_t grid_pixel) const {
    const auto& a = layout.a;
    if (grid_pixel < 0) return;
    const int64_t channels = layout.temporal_channels();
    const int64_t row = frame * a.shape.pixels() + pixel;
    affine_relu_line<true, false>(
        a.temporal + (frame * layout.grid_pixels() + grid_pixel) * channels,
        Line<T>{a.u + row * a.shape.channels + a.spatial_channels}, channels,
        layout.values(a.spatial_channels));
  }

  void spatial_plane(int64_t frame, int64_t channel, int64_t away) const {
    const auto& a = layout.a;
    T* out = layout.plane_of(a.spatial, frame, a.spatial_channels, channel);
    if (!layout.is_in_clip(frame, away)) return zero_elements(out, a.shape.pixels());
    affine_relu_line<false, false>(
        out, Line<T>{layout.plane_of(a.u, frame + away, a.shape.channels, channel)},
        a.shape.pixels(), layout.values(channel));
  }

  void temporal_plane(int64_t frame, int64_t channel) const {
    const auto& a = layout.a;
    affine_relu_line<false, false>(layout.plane_of(a.temporal, frame, layout.temporal_channels(),
                                                   channel - a.spatial_channels),
                                   Line<T>{layout.plane_of(a.u, frame, a.shape.channels, channel)},
                                   a.shape.pixels(), layout.values(channel));
  }

  void strided_plane(int64_t frame, int64_t channel) const {
    const auto& a = layout.a;
    T line[StridedPlane<T>::kMostElements];
    StridedPlane<T>(layout, frame, channel)
        .for_each_run_on_grid([&](int64_t offset, int64_t grid, int64_t size) {
          const auto u = every_stride_th(line, a.u + offset, size, a.stride);
          affine_relu_line<false, false>(a.temporal + grid, u, size, layout.values(channel));
        });
  }
};

// Back through both results: add(channels along?, gradient, u, size, channel) for their lines.
template <typename T, typename Add>
struct SplitBackward {
  const ShiftSplitBackwardArguments<T>& b;
  SplitLayout<T> layout;
  Add add;

  Line<T> u_pixel(int64_t frame, int64_t pixel, int64_t channel) const {
    const auto& a = layout.a;
    return {a.u + (frame * a.shape.pixels() + pixel) * a.shape.channels + channel};
  }

  void spatial(int64_t frame, int64_t pixel) const {
    const int64_t channels = layout.a.spatial_channels;
    add(Along<true>{}, layout.shifted(b.grad_spatial, frame, pixel, channels, -1),
        u_pixel(frame, pixel, 0), channels, 0);
  }

  void temporal(int64_t frame, int64_t pixel, int64_t grid_pixel) const {
    const int64_t channels = layout.temporal_channels(), first = layout.a.spatial_channels;
    const Line<T> u = u_pixel(frame, pixel, first);
    if (grid_pixel < 0) return add(Along<true>{}, NoLine<T>{}, u, channels, first);
    const int64_t row = frame * layout.grid_pixels() + grid_pixel;
    add(Along<true>{}, Line<T>{b.grad_temporal + row * channels}, u, channels, first);
  }

  void spatial_plane(int64_t frame, int64_t channel, int64_t away) const {
    const auto& a = layout.a;
    const Line<T> u{layout.plane_of(a.u, frame, a.shape.channels, channel)};
    if (!layout.is_in_clip(frame, away))
      return add(Along<false>{}, NoLine<T>{}, u, a.shape.pixels(), channel);
    const Line<T> grad{layout.plane_of(b.grad_spatial, frame + away, a.spatial_channels, channel)};
    add(Along<false>{}, grad, u, a.shape.pixels(), channel);
  }

  void temporal_plane(int64_t frame, int64_t channel) const {
    const auto& a = layout.a;
    const Line<T> grad{layout.plane_of(b.grad_temporal, frame, layout.temporal_channels(),
                                       channel - a.spatial_channels)};
    const Line<T> u{layout.plane_of(a.u, frame, a.shape.channels, channel)};
    add(Along<false>{}, grad, u, a.shape.pixels(), channel);
  }

  void strided_plane(int64_t frame, int64_t channel) const {
    T line[StridedPlane<T>::kMostElements];
    const int64_t stride = layout.a.stride;
    StridedPlane<T>(layout, frame, channel)
        .for_each_run([&](int64_t offset, int64_t size, int64_t grid) {
          zero_elements(line, size);
          if (grid >= 0)
            for (int64_t i = 0; i * stride < size; ++i)
              line[i * stride] = b.grad_temporal[grid + i];
          add(Along<false>{}, Line<T>{line}, Line<T>{layout.a.u + offset}, size, channel);
        });
  }
};

template <typename T, typename Add>
SplitBackward<T, Add> split_backward(const ShiftSplitBackwardArguments<T>& b, const Add& add) {
  return {b, SplitLayout<T>{b.forward}, add};
}

template <typename T>
void shift_split_forward(const ShiftSplitArguments<T>& a, int64_t begin, int64_t end) {
  const SplitLayout<T> layout{a};
  for (int64_t unit = begin; unit < end; ++unit) for_unit(layout, 1, unit, SplitForward<T>{layout});
}

// A unit's sums are rows of their own (NHWC), or its channel's in the rows of its frame (NCHW).
template <typename T>
void shift_split_backward_sums(const ShiftSplitBackwardArguments<T>& b, int64_t begin,
                               int64_t end) {
  const FrameShape& shape = b.forward.shape;
  const SplitLayout<T> layout{b.forward};
  for (int64_t index = begin; index < end; ++index) {
    const Unit unit = unit_of(shape, index);
    Accumulate<T>* sums = b.sums + (shape.channels_last ? index : unit.clip) * 2 * shape.channels;
    Accumulate<T>* products = sums + shape.channels;
    zero_elements(sums + (shape.channels_last ? 0 : unit.index_in_clip),
                  shape.channels_last ? 2 * shape.channels : 1);
    if (!shape.channels_last) products[unit.index_in_clip] = 0;
    for_unit(
        layout, -1, index,
        split_backward(b, [&](auto along, auto grad, Line<T> u, int64_t size, int64_t channel) {
          add_gradient_sums<along(), false>(grad, u, size, layout.values(channel), b.mean + channel,
                                            sums + channel, products + channel);
        }));
  }
}

template <typename T>
void shift_split_backward(const ShiftSplitBackwardArguments<T>& b, int64_t begin, int64_t end) {
  using E = Accumulate<T>;
  const SplitLayout<T> layout{b.forward};
  for (int64_t unit = begin; unit < end; ++unit)
    for_unit(
        layout, -1, unit,
        split_backward(b, [&](auto along, auto grad, Line<T> u, int64_t size, int64_t channel) {
          T* grad_u = b.grad_u + (u.first - b.forward.u);
          const GradientValues<E> gradient{b.slope + channel, b.offset + channel, &kZero<E>, 0};
          write_gradient_line<along(), false>(grad_u, grad, u, size, layout.values(channel),
                                              gradient);
        }));
}

}  // namespace
}  // namespace stc
