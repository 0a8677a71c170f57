#pragma once

#include "common/cuda_affine.h"
#include "residual/residual.h"

namespace stc::cuda {

// kNormalized: the identity has a scale and a shift of its own.
template <typename T, bool kNormalized>
struct ResidualJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  struct Loaded {
    Vec<T, N> w;
    Vec<T, N> identity;
  };
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = kNormalized ? 3 : 2;

  ResidualArguments<T> a;

  bool by_planes() const { return !a.shape.channels_last; }
  int64_t largest_tensor() const { return a.shape.elements(); }
  bool is_aligned() const { return are_aligned(a.w, a.identity, a.out); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, a.shape.channels);
    Values<E, N, kSmall> values{
        {load_cached<N>(a.scale + channel), load_cached<N>(a.shift + channel)}};
    if constexpr (kNormalized) {
      values[1] = values[1] + load_cached<N>(a.identity_shift + channel);
      values[2] = load_cached<N>(a.identity_scale + channel);
    }
    return values;
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(a.w + at), cuda::load<N>(a.identity + at)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values, const Group&,
                          I, I at) const {
    Vec<E, N> identity = widened(loaded.identity);
    if constexpr (kNormalized) identity = identity * values[2];
    const Vec<E, N> sum = values[0] * widened(loaded.w) + values[1];
    store(a.out + at, narrowed<T>(relu(sum + identity)));
    return {};
  }
};

// d, the gradient of what the ReLU let pass.
template <int N, typename T>
STC_DEVICE Vec<Accumulate<T>, N> gradient_behind(const Vec<T, N>& out, const Vec<T, N>& grad) {
  return where_relu_passes(widened(out), widened(grad));
}

template <typename T, bool kNormalized>
struct ResidualSumsJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  static constexpr int kKinds = kNormalized ? 3 : 2;
  template <int N>
  struct Loaded {
    Vec<T, N> w;
    Vec<T, N> out;
    Vec<T, N> grad_out;
    Vec<T, kNormalized ? N : 1> identity;
  };
  template <int N>
  using Sums = cuda::Sums<E, N, kKinds>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = kKinds - 1;

  ResidualBackwardArguments<T> b;

  bool by_planes() const { return !b.forward.shape.channels_last; }
  int64_t largest_tensor() const {
    return largest_of({b.forward.shape.elements(), channel_sums_size(b.forward.shape, kKinds)});
  }
  bool is_aligned() const {
    const ResidualArguments<T>& a = b.forward;
    return are_aligned(a.w, a.out, b.grad_out, b.grad_identity, b.sums) &&
           (!kNormalized || are_aligned(a.identity));
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, b.forward.shape.channels);
    Values<E, N, kSmall> values{{load_cached<N>(b.mean + channel)}};
    if constexpr (kNormalized) values[1] = load_cached<N>(b.identity_mean + channel);
    return values;
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    Loaded<N> loaded;
    loaded.w = cuda::load<N>(b.forward.w + at);
    loaded.out = cuda::load<N>(b.forward.out + at);
    loaded.grad_out = cuda::load<N>(b.grad_out + at);
    if constexpr (kNormalized) loaded.identity = cuda::load<N>(b.forward.identity + at);
    return loaded;
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<E, N, kKinds> visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& means,
                                        const Group&, I, I at) const {
    const Vec<E, N> d = gradient_behind(loaded.out, loaded.grad_out);
    Values<E, N, kKinds> terms{{d, d * (widened(loaded.w) - means[0])}};
    if constexpr (kNormalized) {
      terms[2] = d * (widened(loaded.identity) - means[1]);
    } else {
      store(b.grad_identity + at, narrowed<T>(d));
    }
    return terms;
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& result, const Values<E, N, kSmall>&,
                         const Group& group) const {
    store_channel_sums(b.sums, b.forward.shape.channels, group, result.sums);
  }
};

template <typename T, bool kNormalized>
struct ResidualBackwardJob;

template <typename T>
struct ResidualBackwardJob<T, false> : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  struct Loaded {
    Vec<T, N> w;
    Vec<T, N> d;
  };
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 3;

  ResidualBackwardArguments<T> b;

  bool by_planes() const { return !b.forward.shape.channels_last; }
  int64_t largest_tensor() const { return b.forward.shape.elements(); }
  bool is_aligned() const { return are_aligned(b.forward.w, b.grad_w, b.grad_identity); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, b.forward.shape.channels);
    return {{load_cached<N>(b.forward.scale + channel), load_cached<N>(b.slope + channel),
             load_cached<N>(b.offset + channel)}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(b.forward.w + at), cuda::load<N>(b.grad_identity + at)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values, const Group&,
                          I, I at) const {
    const Vec<E, N> of_w = through_statistics(values[1], widened(loaded.w), values[2]);
    store(b.grad_w + at, narrowed<T>(values[0] * widened(loaded.d) + of_w));
    return {};
  }
};

template <typename T>
struct ResidualBackwardJob<T, true> : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  struct Loaded {
    Vec<T, N> w;
    Vec<T, N> out;
    Vec<T, N> grad_out;
    Vec<T, N> identity;
  };
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 6;

  ResidualBackwardArguments<T> b;

  bool by_planes() const { return !b.forward.shape.channels_last; }
  int64_t largest_tensor() const { return b.forward.shape.elements(); }
  bool is_aligned() const {
    const ResidualArguments<T>& a = b.forward;
    return are_aligned(a.w, a.out, a.identity, b.grad_out, b.grad_w, b.grad_identity);
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, b.forward.shape.channels);
    const auto of_channel = [&](const E* values) { return load_cached<N>(values + channel); };
    return {{of_channel(b.forward.scale), of_channel(b.slope), of_channel(b.offset),
             of_channel(b.forward.identity_scale), of_channel(b.identity_slope),
             of_channel(b.identity_offset)}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(b.forward.w + at), cuda::load<N>(b.forward.out + at),
            cuda::load<N>(b.grad_out + at), cuda::load<N>(b.forward.identity + at)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values, const Group&,
                          I, I at) const {
    const Vec<E, N> d = gradient_behind(loaded.out, loaded.grad_out);
    const Vec<E, N> of_w = through_statistics(values[1], widened(loaded.w), values[2]);
    store(b.grad_w + at, narrowed<T>(values[0] * d + of_w));
    const Vec<E, N> of_identity =
        through_statistics(values[4], widened(loaded.identity), values[5]);
    store(b.grad_identity + at, narrowed<T>(values[3] * d + of_identity));
    return {};
  }
};

// kNormalized or not, as the arguments say.
template <template <typename, bool> class Job>
struct ResidualJobs {
  template <typename T, typename Run>
  static void for_each(const ResidualArguments<T>& a, const Run& run) {
    if (a.identity_scale != nullptr) return run(Job<T, true>{{}, a}, channel_view(a.shape));
    run(Job<T, false>{{}, a}, channel_view(a.shape));
  }
  template <typename T, typename Run>
  static void for_each(const ResidualBackwardArguments<T>& b, const Run& run) {
    const View view = channel_view(b.forward.shape);
    if (b.forward.identity_scale != nullptr) return run(Job<T, true>{{}, b}, view);
    run(Job<T, false>{{}, b}, view);
  }
};

}  // namespace stc::cuda
