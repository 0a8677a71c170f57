#pragma once

#include "common/cuda_affine.h"
#include "shift/shift_split.h"

namespace stc::cuda {

// Unsigned, the division is shorter.
template <typename I>
STC_DEVICE I quotient(I a, I b) {
  using U = std::make_unsigned_t<I>;
  return static_cast<I>(static_cast<U>(a) / static_cast<U>(b));
}

// Where the channels of a group are in the results. Columns have a row per pixel of all frames.
template <typename I, bool kOfColumn>
struct SplitPlace {
  RowPlace<I, kOfColumn> rows;  // of `spatial`, but for the shift, or of `temporal`
  I frame;                      // of a plane
  I channel;                    // the first of a vector
  bool is_spatial;
  bool moves_together;  // all channels of a vector
};

// How far the channels [0, fold) and [fold, 2 * fold) of a row are moved, and whether they leave
// the clip. Each element of `spatial` belongs to one of u: where the shift finds no frame, to the
// one that it takes out of the clip, and is zero.
template <typename I>
struct SplitMoves {
  I first, second;
  bool first_leaves, second_leaves;

  STC_DEVICE I distance(int part) const { return part == 0 ? first : part == 1 ? second : 0; }
  STC_DEVICE bool leaves(int part) const {
    return part == 0 ? first_leaves : part == 1 && second_leaves;
  }
};

template <typename T, bool kStrided>
struct SplitLayout {
  ShiftSplitArguments<T> a;
  int64_t grid_width;  // of the pixels that `temporal` has
  int64_t grid_pixels;

  explicit SplitLayout(const ShiftSplitArguments<T>& arguments)
      : a(arguments),
        grid_width(ceil_div(a.shape.width, a.stride)),
        grid_pixels(ceil_div(a.shape.height, a.stride) * grid_width) {}

  int64_t temporal_channels() const { return a.shape.channels - a.spatial_channels; }

  // Vectors of u stay vectors in the results, but for those of channels that are moved apart.
  bool is_aligned() const {
    if (!a.shape.channels_last) return !kStrided;
    return a.spatial_channels % kLanes<T> == 0 && temporal_channels() % kLanes<T> == 0;
  }

  template <typename I>
  STC_DEVICE I pixels() const {
    return static_cast<I>(a.shape.height * a.shape.width);
  }

  // Of channels [0, fold), [fold, 2 * fold) or the others.
  template <typename I>
  STC_DEVICE int part(I channel) const {
    const auto fold = static_cast<I>(a.fold);
    return (channel >= fold) + (channel >= 2 * fold);
  }

  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    using I = decltype(group.at);
    const auto all = static_cast<I>(a.shape.channels), first = static_cast<I>(a.spatial_channels);
    SplitPlace<I, Group::kIsColumn> place{};
    place.channel = channel_of(group, a.shape.channels);
    place.is_spatial = place.channel < first;
    place.moves_together = true;
    const I channels = place.is_spatial ? first : all - first;
    const I own = place.is_spatial ? place.channel : place.channel - first;
    if constexpr (Group::kIsColumn) {
      place.rows = {own, channels, true};
      place.moves_together = part(place.channel) == part(place.channel + N - 1);
    } else {
      place.frame = quotient(group.at, all);
      const I base = (place.frame * channels + own) * pixels<I>();
      place.rows = {base, 1, (base - group.at * pixels<I>()) % N == 0};
    }
    return place;
  }

  template <typename I, bool kOfColumn>
  STC_DEVICE SplitMoves<I> moves(const SplitPlace<I, kOfColumn>& place, I row) const {
    const auto segments = static_cast<I>(a.num_segments);
    const I frame = kOfColumn ? quotient(row, pixels<I>()) : place.frame;
    const I time = frame - quotient(frame, segments) * segments;
    const I one = pixels<I>() * static_cast<I>(a.spatial_channels);
    const bool is_first = time == 0, is_last = time == segments - 1;
    return {is_first ? (segments - 1) * one : -one, is_last ? (1 - segments) * one : one, is_first,
            is_last};
  }

  // In `temporal`, or below zero for pixels that it leaves out.
  template <typename I, bool kOfColumn>
  STC_DEVICE I temporal_offset(const SplitPlace<I, kOfColumn>& place, I row) const {
    if constexpr (!kStrided) return place.rows.offset(row);
    const auto stride = static_cast<I>(a.stride), width = static_cast<I>(a.shape.width);
    const auto channels = static_cast<I>(a.shape.channels - a.spatial_channels);
    const I own = place.channel - static_cast<I>(a.spatial_channels);
    const I frame = kOfColumn ? quotient(row, pixels<I>()) : place.frame;
    const I pixel = kOfColumn ? row - frame * pixels<I>() : row;
    const I y = quotient(pixel, width), x = pixel - y * width;
    const I grid_y = quotient(y, stride), grid_x = quotient(x, stride);
    if (grid_y * stride != y || grid_x * stride != x) return -1;
    const I grid_pixel = grid_y * static_cast<I>(grid_width) + grid_x;
    const auto size = static_cast<I>(grid_pixels);
    return kOfColumn ? (frame * size + grid_pixel) * channels + own
                     : (frame * channels + own) * size + grid_pixel;
  }

  // Whether anything becomes of it.
  template <typename I, bool kOfColumn>
  STC_DEVICE bool counts(const SplitPlace<I, kOfColumn>& place, I row) const {
    if constexpr (!kStrided) return true;
    return place.is_spatial || temporal_offset(place, row) >= 0;
  }
};

template <typename T, bool kStrided>
struct SplitJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 2;

  SplitLayout<T, kStrided> layout;

  explicit SplitJob(const ShiftSplitArguments<T>& a) : layout(a) {}

  bool by_planes() const { return !layout.a.shape.channels_last; }
  int64_t largest_tensor() const { return layout.a.shape.elements(); }
  bool is_aligned() const {
    return are_aligned(layout.a.u, layout.a.spatial, layout.a.temporal) && layout.is_aligned();
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, layout.a.shape.channels);
    return {{load_cached<N>(layout.a.scale + channel), load_cached<N>(layout.a.shift + channel)}};
  }
  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    return layout.template place<N>(group);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Vec<T, N> load(const Place& place, I row, I at) const {
    return layout.counts(place, row) ? cuda::load<N>(layout.a.u + at) : Vec<T, N>{};
  }
  template <int N, typename Place, typename I>
  STC_DEVICE NoSums visit(const Vec<T, N>& u, const Values<E, N, kSmall>& values,
                          const Place& place, I row, I) const {
    const Vec<T, N> v = narrowed<T>(relu(values[0] * widened(u) + values[1]));
    if (place.is_spatial) {
      store_spatial(place, row, v);
    } else if (const I offset = layout.temporal_offset(place, row); !kStrided || offset >= 0) {
      place.rows.store(layout.a.temporal + offset, v);
    }
    return {};
  }

 private:
  template <typename Place, typename I, int N>
  STC_DEVICE void store_spatial(const Place& place, I row, const Vec<T, N>& v) const {
    const SplitMoves<I> moves = layout.moves(place, row);
    const I offset = place.rows.offset(row);
    const int part = layout.part(place.channel);
    if (place.moves_together)
      return place.rows.store(layout.a.spatial + (offset + moves.distance(part)),
                              moves.leaves(part) ? Vec<T, N>{} : v);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int own = layout.part(place.channel + i);
      store(layout.a.spatial + (offset + moves.distance(own) + i),
            Vec<T, 1>{{moves.leaves(own) ? T{} : v[i]}});
    }
  }
};

// u, and the gradient of what became of it in the results.
template <typename T, int N>
struct SplitLoaded {
  Vec<T, N> u;
  Vec<T, N> grad;
};

template <typename T, bool kStrided>
struct SplitGradients {
  ShiftSplitBackwardArguments<T> b;
  SplitLayout<T, kStrided> layout;

  explicit SplitGradients(const ShiftSplitBackwardArguments<T>& arguments)
      : b(arguments), layout(b.forward) {}

  bool is_aligned() const {
    return are_aligned(b.forward.u, b.grad_spatial, b.grad_temporal) && layout.is_aligned();
  }

  // Zero where nothing became of it.
  template <int N, typename Place, typename I>
  STC_DEVICE Vec<T, N> load(const Place& place, I row) const {
    if (place.is_spatial) return load_spatial<N>(place, row);
    const I offset = layout.temporal_offset(place, row);
    if (kStrided && offset < 0) return {};
    return place.rows.template load<N>(b.grad_temporal + offset);
  }

 private:
  template <int N, typename Place, typename I>
  STC_DEVICE Vec<T, N> load_spatial(const Place& place, I row) const {
    const SplitMoves<I> moves = layout.moves(place, row);
    const I offset = place.rows.offset(row);
    const int part = layout.part(place.channel);
    Vec<T, N> grad{};
    if (place.moves_together) {
      if (!moves.leaves(part))
        grad = place.rows.template load<N>(b.grad_spatial + (offset + moves.distance(part)));
      return grad;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int own = layout.part(place.channel + i);
      if (!moves.leaves(own))
        grad[i] = cuda::load<1>(b.grad_spatial + (offset + moves.distance(own) + i))[0];
    }
    return grad;
  }
};

template <typename T, bool kStrided>
struct SplitSumsJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = SplitLoaded<T, N>;
  template <int N>
  using Sums = cuda::Sums<E, N, 2>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 3;

  SplitGradients<T, kStrided> gradients;

  explicit SplitSumsJob(const ShiftSplitBackwardArguments<T>& b) : gradients(b) {}

  bool by_planes() const { return !gradients.b.forward.shape.channels_last; }
  int64_t largest_tensor() const {
    const FrameShape& shape = gradients.b.forward.shape;
    return largest_of({shape.elements(), channel_sums_size(shape, Sums<1>::kArrays)});
  }
  bool is_aligned() const { return are_aligned(gradients.b.sums) && gradients.is_aligned(); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const ShiftSplitBackwardArguments<T>& b = gradients.b;
    const auto channel = channel_of(group, b.forward.shape.channels);
    return {{load_cached<N>(b.forward.scale + channel), load_cached<N>(b.forward.shift + channel),
             load_cached<N>(b.mean + channel)}};
  }
  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    return gradients.layout.template place<N>(group);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Loaded<N> load(const Place& place, I row, I at) const {
    return {cuda::load<N>(gradients.b.forward.u + at), gradients.template load<N>(place, row)};
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Values<E, N, 2> visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values,
                                   const Place&, I, I) const {
    const Vec<E, N> u = widened(loaded.u);
    const Vec<E, N> d = where_relu_passes(values[0] * u + values[1], widened(loaded.grad));
    return {{d, d * (u - values[2])}};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& result, const Values<E, N, kSmall>&,
                         const Group& group) const {
    store_channel_sums(gradients.b.sums, gradients.b.forward.shape.channels, group, result.sums);
  }
};

template <typename T, bool kStrided>
struct SplitBackwardJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = SplitLoaded<T, N>;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 4;

  SplitGradients<T, kStrided> gradients;

  explicit SplitBackwardJob(const ShiftSplitBackwardArguments<T>& b) : gradients(b) {}

  bool by_planes() const { return !gradients.b.forward.shape.channels_last; }
  int64_t largest_tensor() const { return gradients.b.forward.shape.elements(); }
  bool is_aligned() const { return are_aligned(gradients.b.grad_u) && gradients.is_aligned(); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const ShiftSplitBackwardArguments<T>& b = gradients.b;
    const auto channel = channel_of(group, b.forward.shape.channels);
    return {{load_cached<N>(b.forward.scale + channel), load_cached<N>(b.forward.shift + channel),
             load_cached<N>(b.slope + channel), load_cached<N>(b.offset + channel)}};
  }
  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    return gradients.layout.template place<N>(group);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Loaded<N> load(const Place& place, I row, I at) const {
    return {cuda::load<N>(gradients.b.forward.u + at), gradients.template load<N>(place, row)};
  }
  template <int N, typename Place, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values, const Place&,
                          I, I at) const {
    const Vec<E, N> u = widened(loaded.u);
    const Vec<E, N> d = where_relu_passes(values[0] * u + values[1], widened(loaded.grad));
    store(gradients.b.grad_u + at,
          narrowed<T>(values[0] * d + through_statistics(values[2], u, values[3])));
    return {};
  }
};

template <template <typename, bool> class Job>
struct SplitJobs {
  template <typename T, typename Run>
  static void for_each(const ShiftSplitArguments<T>& a, const Run& run) {
    if (a.stride > 1) return run(Job<T, true>(a), channel_view(a.shape));
    run(Job<T, false>(a), channel_view(a.shape));
  }
  template <typename T, typename Run>
  static void for_each(const ShiftSplitBackwardArguments<T>& b, const Run& run) {
    const View view = channel_view(b.forward.shape);
    if (b.forward.stride > 1) return run(Job<T, true>(b), view);
    run(Job<T, false>(b), view);
  }
};

}  // namespace stc::cuda
