#pragma once

#include "common/cuda_plan.h"
#include "moments/moments.h"

namespace stc::cuda {

template <typename T>
struct MeanJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = cuda::Sums<E, N>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 0;

  MeanArguments<T> a;

  bool by_planes() const { return a.view.inner == 1; }
  int64_t largest_tensor() const { return largest_of({a.view.size(), a.view.groups()}); }
  bool is_aligned() const { return are_aligned(a.frames, a.mean); }
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group&, I, I at) const {
    return cuda::load<N>(a.frames + at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<E, N, 1> visit(const Vec<T, N>& elements, const Values<E, N, 0>&, const Group&,
                                   I, I) const {
    return {{widened(elements)}};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& sums, const Values<E, N, 0>&, const Group& group) const {
    store(a.mean + group.at, sums.sums[0] * (1 / static_cast<E>(a.view.reduced)));
  }
};

// Empty views (reduced == 0) have moments of zero.
template <typename T>
struct MomentsJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = Moments<E, N>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 0;

  MomentsArguments<T> a;

  bool by_planes() const { return a.view.inner == 1; }
  int64_t largest_tensor() const { return largest_of({a.view.size(), a.view.groups()}); }
  bool is_aligned() const { return are_aligned(a.frames, a.mean, a.m2); }
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group&, I, I at) const {
    return cuda::load<N>(a.frames + at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<E, N> visit(const Vec<T, N>& elements, const Values<E, N, 0>&, const Group&, I,
                             I) const {
    return widened(elements);
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Moments<E, N>& moments, const Values<E, N, 0>&,
                         const Group& group) const {
    store(a.mean + group.at, moments.mean);
    store(a.m2 + group.at, moments.m2);
  }
};

template <typename T>
struct MeanBackwardJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  struct Nothing {};
  template <int N>
  using Loaded = Nothing;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 1;

  MeanBackwardArguments<T> a;

  bool by_planes() const { return a.view.inner == 1; }
  int64_t largest_tensor() const { return largest_of({a.view.size(), a.view.groups()}); }
  bool is_aligned() const { return are_aligned(a.grad_mean, a.grad_frames); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, 1> small(const Group& group) const {
    return {{cuda::load<N>(a.grad_mean + group.at) * (1 / static_cast<E>(a.view.reduced))}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Nothing load(const Group&, I, I) const {
    return {};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Nothing visit(Nothing, const Values<E, N, 1>& value, const Group&, I, I at) const {
    store(a.grad_frames + at, narrowed<T>(value[0]));
    return {};
  }
};

}  // namespace stc::cuda
