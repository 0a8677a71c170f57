#pragma once

#include "common/cuda_affine.h"
#include "shift/shift_split.h"

namespace stc::cuda {

// What of the results belongs to an element of u. Each element of them belongs to one: where the
// shift finds no frame, to the one that it takes out of the clip.
enum class SplitPart { nothing, spatial, zero_of_spatial, temporal };

template <typename I>
struct SplitTarget {
  SplitPart part;
  I offset;

  STC_DEVICE bool has_value() const {
    return part == SplitPart::spatial || part == SplitPart::temporal;
  }
};

template <typename I>
struct SplitElement {
  I frame;
  I pixel;
  I channel;
};

template <typename T>
struct SplitPlaces {
  ShiftSplitArguments<T> a;

  // Columns: frame by frame, or all of them together.
  View view() const {
    if (!a.shape.channels_last) return channel_view(a.shape);
    return {a.shape.frames(), a.shape.pixels(), a.shape.channels};
  }
  View view_of_all_frames() const { return channel_view(a.shape); }

  // Vectors of columns stay vectors in the results, or are divided.
  bool is_aligned() const {
    return !a.shape.channels_last || (a.spatial_channels % kLanes<T> == 0 &&
                                      (a.shape.channels - a.spatial_channels) % kLanes<T> == 0);
  }

  template <typename Group, typename I>
  STC_DEVICE SplitElement<I> element(const Group& group, I row) const {
    const auto pixels = static_cast<I>(a.shape.height * a.shape.width);
    const I channel = channel_of(group, a.shape.channels);
    if constexpr (Group::kIsColumn) return {group.outer + row / pixels, row % pixels, channel};
    return {group.at / static_cast<I>(a.shape.channels), row, channel};
  }

  template <typename I>
  STC_DEVICE SplitTarget<I> spatial_target(const SplitElement<I>& e) const {
    const auto segments = static_cast<I>(a.num_segments), fold = static_cast<I>(a.fold);
    const I away = e.channel < fold ? -1 : e.channel < 2 * fold ? 1 : 0;
    const I time = e.frame % segments + away;
    const bool leaves = time < 0 || time >= segments;
    const I frame = e.frame + away - (leaves ? away * segments : 0);
    return {leaves ? SplitPart::zero_of_spatial : SplitPart::spatial,
            offset(frame, e.channel, e.pixel, a.spatial_channels, a.shape.height * a.shape.width)};
  }

  template <typename I>
  STC_DEVICE SplitTarget<I> temporal_target(const SplitElement<I>& e) const {
    const auto stride = static_cast<I>(a.stride), width = static_cast<I>(a.shape.width);
    const I channel = e.channel - static_cast<I>(a.spatial_channels);
    const int64_t channels = a.shape.channels - a.spatial_channels;
    const int64_t pixels = a.shape.height * a.shape.width;
    if (stride == 1)
      return {SplitPart::temporal, offset(e.frame, channel, e.pixel, channels, pixels)};
    const I y = e.pixel / width, x = e.pixel % width;
    if (y % stride != 0 || x % stride != 0) return {SplitPart::nothing, 0};
    const I columns = (width + stride - 1) / stride;
    const I rows = (static_cast<I>(a.shape.height) + stride - 1) / stride;
    const I pixel = y / stride * columns + x / stride;
    return {SplitPart::temporal,
            offset(e.frame, channel, pixel, channels, int64_t{rows} * columns)};
  }

  template <typename I>
  STC_DEVICE SplitTarget<I> target(const SplitElement<I>& e) const {
    return e.channel < a.spatial_channels ? spatial_target(e) : temporal_target(e);
  }

  // Whether the elements of a vector have targets side by side.
  template <int N, typename Group, typename I>
  STC_DEVICE bool is_undivided(const Group&, const SplitElement<I>& first) const {
    const auto fold = static_cast<I>(a.fold);
    if (!Group::kIsColumn) return first.channel < a.spatial_channels || a.stride == 1;
    const auto part = [&](I channel) { return (channel >= fold) + (channel >= 2 * fold); };
    return part(first.channel) == part(first.channel + N - 1);
  }

  template <typename Group, typename I>
  STC_DEVICE static SplitElement<I> beside(const Group&, SplitElement<I> element, int i) {
    (Group::kIsColumn ? element.channel : element.pixel) += i;
    return element;
  }

  // Whether any element of the vector has a value in the results.
  template <int N, typename Group, typename I>
  STC_DEVICE bool has_values(const Group& group, const SplitElement<I>& first) const {
    if (is_undivided<N>(group, first)) return target(first).has_value();
    bool any = false;
#pragma unroll
    for (int i = 0; i < N; ++i) any |= target(beside(group, first, i)).has_value();
    return any;
  }

 private:
  template <typename I>
  STC_DEVICE I offset(I frame, I channel, I pixel, int64_t channels, int64_t pixels) const {
    const auto all = static_cast<I>(channels), plane = static_cast<I>(pixels);
    return a.shape.channels_last ? (frame * plane + pixel) * all + channel
                                 : (frame * all + channel) * plane + pixel;
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
  static constexpr int kTensors = 1;
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
  STC_DEVICE Vec<T, N> load(const Group& group, I row, I at) const {
    if (!places.template has_values<N>(group, places.element(group, row))) return {};
    return cuda::load<N>(places.a.u + at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Vec<T, N>& u, const Values<E, N, kSmall>& values,
                          const Group& group, I row, I) const {
    const Vec<T, N> v = narrowed<T>(relu(values[0] * widened(u) + values[1]));
    const SplitElement<I> first = places.element(group, row);
    if (places.template is_undivided<N>(group, first)) {
      put(group, places.target(first), v);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i)
        put(group, places.target(places.beside(group, first, i)), Vec<T, 1>{{v[i]}});
    }
    return {};
  }

 private:
  template <typename Group, typename I, int N>
  STC_DEVICE void put(const Group& group, const SplitTarget<I>& target, Vec<T, N> v) const {
    if (target.part == SplitPart::nothing) return;
    if (target.part == SplitPart::zero_of_spatial) v = {};
    T* to = target.part == SplitPart::temporal ? places.a.temporal : places.a.spatial;
    store_in(group, to + target.offset, v);
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

  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group& group, I row) const {
    const SplitElement<I> first = places.element(group, row);
    if (places.template is_undivided<N>(group, first)) return take<N>(group, places.target(first));
    Vec<T, N> grad;
#pragma unroll
    for (int i = 0; i < N; ++i)
      grad[i] = take<1>(group, places.target(places.beside(group, first, i)))[0];
    return grad;
  }

 private:
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> take(const Group& group, const SplitTarget<I>& target) const {
    if (!target.has_value()) return {};
    const T* from = target.part == SplitPart::temporal ? b.grad_temporal : b.grad_spatial;
    return load_in<N>(group, from + target.offset);
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
  static constexpr bool kHasPlanes = true;
  static constexpr int kTensors = 2;
  static constexpr int kSmall = 3;

  SplitGradients<T> gradients;

  explicit SplitSumsJob(const ShiftSplitBackwardArguments<T>& b) : gradients(b) {}

  View view() const { return gradients.places.view_of_all_frames(); }
  bool by_planes() const { return !gradients.b.forward.shape.channels_last; }
  bool is_aligned() const { return gradients.is_aligned(); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const ShiftSplitBackwardArguments<T>& b = gradients.b;
    const auto channel = channel_of(group, b.forward.shape.channels);
    return {{load_anywhere<N>(b.forward.scale + channel),
             load_anywhere<N>(b.forward.shift + channel), load_anywhere<N>(b.mean + channel)}};
  }
  // Where there is no gradient, u does not count.
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group& group, I row, I at) const {
    const SplitElement<I> first = gradients.places.element(group, row);
    if (!gradients.places.template has_values<N>(group, first)) return {};
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
  static constexpr int kTensors = 2;
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
