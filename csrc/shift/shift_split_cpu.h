#pragma once

#include "common/affine_lines.h"
#include "shift/shift_split.h"

namespace stc {
namespace {

// Lines of one frame that share their channels and where they come from or go to.
struct SplitPiece {
  int64_t frame;
  int64_t pixel;
  int64_t channel;
  int64_t size;
  int64_t other_frame;  // where the shift takes them, inside the clip or not
  int64_t grid_pixel;   // of every stride-th pixel; below zero for the others
  bool is_spatial;
  bool is_there;  // whether `other_frame` is inside the clip and the pixel on the grid
};

template <typename T>
struct SplitLayout {
  const ShiftSplitArguments<T>& a;

  int64_t temporal_channels() const { return a.shape.channels - a.spatial_channels; }
  int64_t grid_width() const { return ceil_div(a.shape.width, a.stride); }
  int64_t grid_pixels() const { return ceil_div(a.shape.height, a.stride) * grid_width(); }
  bool is_strided() const { return a.stride > 1; }

  // Frames that the shift moves a channel of `spatial` back by.
  int64_t frames_away(int64_t channel) const {
    return channel < a.fold ? 1 : channel < 2 * a.fold ? -1 : 0;
  }

  int64_t grid_pixel_of(int64_t pixel) const {
    const int64_t row = pixel / a.shape.width, column = pixel % a.shape.width;
    if (row % a.stride != 0 || column % a.stride != 0) return -1;
    return row / a.stride * grid_width() + column / a.stride;
  }

  template <typename P>
  Lines<P> lines_of(P* frames, int64_t frame, int64_t pixels, int64_t pixel, int64_t channels,
                    int64_t channel) const {
    return a.shape.channels_last
               ? Lines<P>{frames + (frame * pixels + pixel) * channels + channel, channels}
               : Lines<P>{frames + (frame * channels + channel) * pixels + pixel, pixels};
  }

  template <typename P>
  Lines<P> of_input(P* u, int64_t frame, const SplitPiece& piece) const {
    return lines_of(u, frame, a.shape.pixels(), piece.pixel, a.shape.channels, piece.channel);
  }

  template <typename P>
  Lines<P> of_results(P* spatial, P* temporal, int64_t frame, const SplitPiece& piece) const {
    return piece.is_spatial ? lines_of(spatial, frame, a.shape.pixels(), piece.pixel,
                                       a.spatial_channels, piece.channel)
                            : lines_of(temporal, frame, grid_pixels(), piece.grid_pixel,
                                       temporal_channels(), piece.channel - a.spatial_channels);
  }

  AffineValues<Accumulate<T>> values(int64_t channel) const {
    return {a.scale + channel, a.shift + channel, &kOne<Accumulate<T>>};
  }
};

// work.lines(channels along?, count, piece) for all of a unit. `direction` is 1 to go from results
// to inputs, -1 to go back.
template <typename T, typename Work>
inline void for_each_pixel_piece(const SplitLayout<T>& layout, int64_t direction, const Unit& unit,
                                 const Work& work) {
  const auto& a = layout.a;
  const int64_t parts[4] = {0, a.fold, 2 * a.fold, a.spatial_channels};
  const int64_t frame = unit.clip, time = frame % a.num_segments;
  for_each_lines(unit.pixels, [&](auto count, int64_t line) {
    const int64_t pixel = unit.first_pixel + line;
    for (int part = 0; part < 3; ++part) {
      const int64_t channel = parts[part], size = parts[part + 1] - channel;
      if (size == 0) continue;
      const int64_t away = direction * layout.frames_away(channel);
      const bool inside = time + away >= 0 && time + away < a.num_segments;
      work.lines(Along<true>{}, count,
                 SplitPiece{frame, pixel, channel, size, frame + away, pixel, true, inside});
    }
    if (layout.temporal_channels() == 0) return;
    const auto temporal = [&](auto pixels, int64_t first, int64_t grid_pixel) {
      work.lines(Along<true>{}, pixels,
                 SplitPiece{frame, first, a.spatial_channels, layout.temporal_channels(), frame,
                            grid_pixel, false, grid_pixel >= 0});
    };
    if (!layout.is_strided()) return temporal(count, pixel, pixel);
    for (int64_t each = pixel; each < pixel + count(); ++each)
      temporal(LineCount<1>{}, each, layout.grid_pixel_of(each));
  });
}

// work.lines for the planes of a unit's channel, or work.strided_plane(frame, channel).
template <typename T, typename Work>
inline void for_each_plane(const SplitLayout<T>& layout, int64_t direction, const Unit& unit,
                           const Work& work) {
  const auto& a = layout.a;
  const int64_t channel = unit.index_in_clip;
  const bool is_spatial = channel < a.spatial_channels;
  const int64_t away = is_spatial ? direction * layout.frames_away(channel) : 0;
  const int64_t frame = unit.clip, time = frame % a.num_segments;
  const bool inside = time + away >= 0 && time + away < a.num_segments;
  if (!is_spatial && layout.is_strided()) {
    work.strided_plane(frame, channel);
  } else {
    work.lines(
        Along<false>{}, LineCount<1>{},
        SplitPiece{frame, 0, channel, a.shape.pixels(), frame + away, 0, is_spatial, inside});
  }
}

template <typename T, typename Work>
inline void for_each_piece(const SplitLayout<T>& layout, int64_t direction, int64_t unit,
                           const Work& work) {
  const Unit where = unit_of(layout.a.shape, unit);
  if (layout.a.shape.channels_last) {
    for_each_pixel_piece(layout, direction, where, work);
  } else {
    for_each_plane(layout, direction, where, work);
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
inline Lines<const T> every_stride_th(T* to, const T* from, int64_t size, int64_t stride) {
  for (int64_t i = 0; i < size; ++i) to[i] = from[i * stride];
  return {to, 0};
}

template <typename T>
struct SplitForward {
  SplitLayout<T> layout;

  template <bool kChannels, int Count>
  void lines(Along<kChannels>, LineCount<Count>, const SplitPiece& piece) const {
    const auto& a = layout.a;
    if (piece.grid_pixel < 0) return;
    const Lines<T> out = layout.of_results(a.spatial, a.temporal, piece.frame, piece);
    if (!piece.is_there) {
      for (int line = 0; line < Count; ++line) zero_elements(out.line(line), piece.size);
      return;
    }
    const Lines<const T> u = layout.of_input(a.u, piece.other_frame, piece);
    affine_relu_lines<Count, kChannels, false>(out, u, piece.size, layout.values(piece.channel));
  }

  void strided_plane(int64_t frame, int64_t channel) const {
    const auto& a = layout.a;
    T line[StridedPlane<T>::kMostElements];
    StridedPlane<T>(layout, frame, channel)
        .for_each_run_on_grid([&](int64_t offset, int64_t grid, int64_t size) {
          const auto u = every_stride_th(line, a.u + offset, size, a.stride);
          affine_relu_lines<1, false, false>(Lines<T>{a.temporal + grid, 0}, u, size,
                                             layout.values(channel));
        });
  }
};

template <typename T>
struct SplitSums {
  const ShiftSplitBackwardArguments<T>& b;
  SplitLayout<T> layout;
  Accumulate<T>* sums;
  Accumulate<T>* products;

  template <bool kChannels, int Count>
  void lines(Along<kChannels>, LineCount<Count>, const SplitPiece& piece) const {
    if (!piece.is_there) return;
    const Lines<const T> grad =
        layout.of_results(b.grad_spatial, b.grad_temporal, piece.other_frame, piece);
    const Lines<const T> u = layout.of_input(layout.a.u, piece.frame, piece);
    add_gradient_sums<Count, kChannels, false>(grad, u, piece.size, layout.values(piece.channel),
                                               b.mean + piece.channel, sums + piece.channel,
                                               products + piece.channel);
  }

  void strided_plane(int64_t frame, int64_t channel) const {
    T line[StridedPlane<T>::kMostElements];
    StridedPlane<T>(layout, frame, channel)
        .for_each_run_on_grid([&](int64_t offset, int64_t grid, int64_t size) {
          const auto u = every_stride_th(line, layout.a.u + offset, size, layout.a.stride);
          add_gradient_sums<1, false, false>(Lines<const T>{b.grad_temporal + grid, 0}, u, size,
                                             layout.values(channel), b.mean + channel,
                                             sums + channel, products + channel);
        });
  }
};

template <typename T>
struct SplitGradient {
  const ShiftSplitBackwardArguments<T>& b;
  SplitLayout<T> layout;

  GradientValues<Accumulate<T>> values(int64_t channel) const {
    return {b.slope + channel, b.offset + channel, &kZero<Accumulate<T>>, 0};
  }

  template <bool kChannels, int Count>
  void lines(Along<kChannels>, LineCount<Count>, const SplitPiece& piece) const {
    const Lines<const T> u = layout.of_input(layout.a.u, piece.frame, piece);
    const Lines<T> grad_u = layout.of_input(b.grad_u, piece.frame, piece);
    const auto affine = layout.values(piece.channel);
    const auto gradient = values(piece.channel);
    if (piece.is_there) {
      const Lines<const T> grad =
          layout.of_results(b.grad_spatial, b.grad_temporal, piece.other_frame, piece);
      write_gradient_lines<Count, kChannels, false, true>(grad_u, grad, u, piece.size, affine,
                                                          gradient);
    } else {
      write_gradient_lines<Count, kChannels, false, false>(grad_u, Lines<const T>{}, u, piece.size,
                                                           affine, gradient);
    }
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
          write_gradient_lines<1, false, false, true>(Lines<T>{b.grad_u + offset, 0},
                                                      Lines<const T>{line, 0},
                                                      Lines<const T>{layout.a.u + offset, 0}, size,
                                                      layout.values(channel), values(channel));
        });
  }
};

template <typename T>
void shift_split_forward(const ShiftSplitArguments<T>& a, int64_t begin, int64_t end) {
  const SplitLayout<T> layout{a};
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_piece(layout, 1, unit, SplitForward<T>{layout});
}

// A unit's sums are rows of their own (NHWC), or its channel's in the rows of its clip (NCHW).
template <typename T>
void shift_split_backward_sums(const ShiftSplitBackwardArguments<T>& b, int64_t begin,
                               int64_t end) {
  const FrameShape& shape = b.forward.shape;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t row = shape.channels_last ? unit : unit / units_per_clip(shape);
    const int64_t channel = shape.channels_last ? 0 : unit % units_per_clip(shape);
    const int64_t channels = shape.channels_last ? shape.channels : 1;
    Accumulate<T>* sums = b.sums + row * 2 * shape.channels;
    Accumulate<T>* products = sums + shape.channels;
    zero_elements(sums + channel, channels);
    zero_elements(products + channel, channels);
    for_each_piece(SplitLayout<T>{b.forward}, -1, unit,
                   SplitSums<T>{b, SplitLayout<T>{b.forward}, sums, products});
  }
}

template <typename T>
void shift_split_backward(const ShiftSplitBackwardArguments<T>& b, int64_t begin, int64_t end) {
  const SplitLayout<T> layout{b.forward};
  for (int64_t unit = begin; unit < end; ++unit)
    for_each_piece(layout, -1, unit, SplitGradient<T>{b, layout});
}

}  // namespace
}  // namespace stc
