#pragma once

#include "common/cuda_affine.h"
#include "shift/shift_split.h"

namespace stc::cuda {

// Where the elements of u are in the results. Each element of `spatial` belongs to one of u: where
// the shift finds no frame, to the one that it takes out of the clip, and is zero.
template <typename T>
struct SplitPlaces {
  ShiftSplitArguments<T> a;

  // How far each part is moved, and whether it leaves the clip.
  template <typename I>
  struct Moves {
    I first, second;
    bool first_leaves, second_leaves;

    STC_DEVICE I distance(int part) const { return part == 0 ? first : part == 1 ? second : 0; }
    STC_DEVICE bool leaves(int part) const {
      return part == 0 ? first_leaves : part == 1 && second_leaves;
    }
  };

  View view() const {
    if (!a.shape.channels_last) return channel_view(a.shape);
    return {a.shape.frames(), a.shape.pixels(), a.shape.channels};
  }

  // Vectors of u stay vectors in the results, but for those of columns that are moved apart.
  bool is_aligned() const {
    if (!a.shape.channels_last) return a.stride == 1;
    return a.spatial_channels % kLanes<T> == 0 &&
           (a.shape.channels - a.spatial_channels) % kLanes<T> == 0;
  }

  template <typename Group>
  STC_DEVICE bool is_spatial(const Group& group) const {
    return channel_of(group, a.shape.channels) < a.spatial_channels;
  }

  template <typename Group>
  STC_DEVICE auto moves(const Group& group) const {
    using I = decltype(group.at);
    const auto segments = static_cast<I>(a.num_segments);
    const I time = frame(group) % segments;
    const I one = static_cast<I>(a.shape.height * a.shape.width * a.spatial_channels);
    const bool is_first = time == 0, is_last = time == segments - 1;
    return Moves<I>{is_first ? (segments - 1) * one : -one, is_last ? (1 - segments) * one : one,
                    is_first, is_last};
  }

  // Of channels [0, fold), [fold, 2 * fold) or the others.
  template <typename I>
  STC_DEVICE int part(I channel) const {
    const auto fold = static_cast<I>(a.fold);
    return channel < fold ? 0 : channel < 2 * fold ? 1 : 2;
  }

  // In `spatial`, without the moves.
  template <typename Group, typename I>
  STC_DEVICE I spatial_offset(const Group& group, I row) const {
    return offset(group, channel_of(group, a.shape.channels), row, a.spatial_channels,
                  a.shape.height * a.shape.width);
  }

  // In `temporal`, or below zero for pixels that it leaves out.
  template <typename Group, typename I>
  STC_DEVICE I temporal_offset(const Group& group, I row) const {
    const auto stride = static_cast<I>(a.stride), width = static_cast<I>(a.shape.width);
    const auto channel = static_cast<I>(channel_of(group, a.shape.channels) - a.spatial_channels);
    const int64_t channels = a.shape.channels - a.spatial_channels;
    if (stride == 1) return offset(group, channel, row, channels, a.shape.height * a.shape.width);
    const I y = row / width, x = row % width;
    if (y % stride != 0 || x % stride != 0) return -1;
    const I columns = (width + stride - 1) / stride;
    const I rows = (static_cast<I>(a.shape.height) + stride - 1) / stride;
    return offset(group, channel, y / stride * columns + x / stride, channels,
                  int64_t{rows} * columns);
  }

 private:
  template <typename Group>
  STC_DEVICE auto frame(const Group& group) const {
    if constexpr (Group::kIsColumn) return group.outer;
    return group.at / static_cast<decltype(group.at)>(a.shape.channels);
  }

  template <typename Group, typename I>
  STC_DEVICE I offset(const Group& group, I channel, I pixel, int64_t channels,
                      int64_t pixels) const {
    const auto all = static_cast<I>(channels), plane = static_cast<I>(pixels);
    if constexpr (Group::kIsColumn) return (frame(group) * plane + pixel) * all + channel;
    return (frame(group) * all + channel) * plane + pixel;
  }
};

template <typename T>
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

  SplitPlaces<T> places;

  explicit SplitJob(const ShiftSplitArguments<T>& a) : places{a} {}

  View view() const { return places.view(); }
  bool by_planes() const { return !places.a.shape.channels_last; }
  bool is_aligned() const {
    const ShiftSplitArguments<T>& a = places.a;
    return are_aligned(a.u, a.spatial, a.temporal) && places.is_aligned();
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, places.a.shape.channels);
    return {
        {load_anywhere<N>(places.a.scale + channel), load_anywhere<N>(places.a.shift + channel)}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group&, I, I at) const {
    return cuda::load<N>(places.a.u + at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Vec<T, N>& u, const Values<E, N, kSmall>& values,
                          const Group& group, I row, I) const {
    const Vec<T, N> v = narrowed<T>(relu(values[0] * widened(u) + values[1]));
    if (places.is_spatial(group)) {
      store_spatial(group, row, v);
    } else if (const I offset = places.temporal_offset(group, row); offset >= 0) {
      store_in(group, places.a.temporal + offset, v);
    }
    return {};
  }

 private:
  template <typename Group, typename I, int N>
  STC_DEVICE void store_spatial(const Group& group, I row, const Vec<T, N>& v) const {
    const auto moves = places.moves(group);
    const I channel = channel_of(group, places.a.shape.channels);
    T* to = places.a.spatial + places.spatial_offset(group, row);
    const int part = places.part(channel);
    if (!Group::kIsColumn || part == places.part(channel + N - 1))
      return store_in(group, to + moves.distance(part), moves.leaves(part) ? Vec<T, N>{} : v);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int own = places.part(channel + i);
      store(to + (moves.distance(own) + i), Vec<T, 1>{{moves.leaves(own) ? T{} : v[i]}});
    }
  }
};

// u, and the gradient of what became of it in the results.
template <typename T, int N>
struct SplitLoaded {
  Vec<T, N> u;
  Vec<T, N> grad;
};

template <typename T>
struct SplitGradients {
  ShiftSplitBackwardArguments<T> b;
  SplitPlaces<T> places;

  explicit SplitGradients(const ShiftSplitBackwardArguments<T>& arguments)
      : b(arguments), places{b.forward} {}

  bool is_aligned() const {
    return are_aligned(b.forward.u, b.grad_spatial, b.grad_temporal) && places.is_aligned();
  }

  // Zero where nothing became of it.
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group& group, I row) const {
    if (places.is_spatial(group)) return load_spatial<N>(group, row);
    const I offset = places.temporal_offset(group, row);
    return offset < 0 ? Vec<T, N>{} : load_in<N>(group, b.grad_temporal + offset);
  }

 private:
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load_spatial(const Group& group, I row) const {
    const auto moves = places.moves(group);
    const I channel = channel_of(group, places.a.shape.channels);
    const T* from = b.grad_spatial + places.spatial_offset(group, row);
    const int part = places.part(channel);
    Vec<T, N> grad{};
    if (!Group::kIsColumn || part == places.part(channel + N - 1)) {
      if (!moves.leaves(part)) grad = load_in<N>(group, from + moves.distance(part));
      return grad;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int own = places.part(channel + i);
      if (!moves.leaves(own)) grad[i] = cuda::load<1>(from + (moves.distance(own) + i))[0];
    }
    return grad;
  }
};

template <typename T>
struct SplitSumsJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = SplitLoaded<T, N>;
  template <int N>
  using Sums = cuda::Sums<E, N, 2>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kSumsOuter = true;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 3;

  SplitGradients<T> gradients;

  explicit SplitSumsJob(const ShiftSplitBackwardArguments<T>& b) : gradients(b) {}

  View view() const { return gradients.places.view(); }
  bool by_planes() const { return !gradients.b.forward.shape.channels_last; }
  bool is_aligned() const { return gradients.is_aligned(); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const ShiftSplitBackwardArguments<T>& b = gradients.b;
    const auto channel = channel_of(group, b.forward.shape.channels);
    return {{load_anywhere<N>(b.forward.scale + channel),
             load_anywhere<N>(b.forward.shift + channel), load_anywhere<N>(b.mean + channel)}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group& group, I row, I at) const {
    return {cuda::load<N>(gradients.b.forward.u + at), gradients.template load<N>(group, row)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<E, N, 2> visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values,
                                   const Group&, I, I) const {
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

template <typename T>
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

  SplitGradients<T> gradients;

  explicit SplitBackwardJob(const ShiftSplitBackwardArguments<T>& b) : gradients(b) {}

  View view() const { return gradients.places.view(); }
  bool by_planes() const { return !gradients.b.forward.shape.channels_last; }
  bool is_aligned() const { return gradients.is_aligned() && are_aligned(gradients.b.grad_u); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const ShiftSplitBackwardArguments<T>& b = gradients.b;
    const auto channel = channel_of(group, b.forward.shape.channels);
    return {{load_anywhere<N>(b.forward.scale + channel),
             load_anywhere<N>(b.forward.shift + channel), load_anywhere<N>(b.slope + channel),
             load_anywhere<N>(b.offset + channel)}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group& group, I row, I at) const {
    return {cuda::load<N>(gradients.b.forward.u + at), gradients.template load<N>(group, row)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values, const Group&,
                          I, I at) const {
    const Vec<E, N> u = widened(loaded.u);
    const Vec<E, N> d = where_relu_passes(values[0] * u + values[1], widened(loaded.grad));
    store(gradients.b.grad_u + at, narrowed<T>(values[0] * d + (values[2] * u + values[3])));
    return {};
  }
};

template <template <typename> class Job>
struct SplitJobs {
  template <template <typename> class Arguments, typename T, typename Run>
  static void for_each(const Arguments<T>& arguments, const Run& run) {
    const Job<T> job(arguments);
    run(job, job.view());
  }
};

}  // namespace stc::cuda
