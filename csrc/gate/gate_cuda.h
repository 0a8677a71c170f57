#pragma once

#include <cmath>

#include "common/cuda_plan.h"
#include "gate/gate.h"

namespace stc::cuda {

// As PyTorch computes it: zero where exp(-x) is infinite.
template <typename E>
STC_DEVICE E sigmoid(E x) {
  return 1 / (1 + std::exp(-x));
}

template <typename E, int N>
STC_DEVICE Vec<E, N> sigmoids(Vec<E, N> logits) {
#pragma unroll
  for (int i = 0; i < N; ++i) logits[i] = sigmoid(logits[i]);
  return logits;
}

template <int N, typename E>
STC_DEVICE Values<E, N, 1> gates(const E* logits) {
  return {{sigmoids(load<N>(logits))}};
}

template <typename T>
struct GateJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 1;

  GateArguments<T> a;

  bool by_planes() const { return a.view.inner == 1; }
  int64_t largest_tensor() const { return largest_of({a.view.size(), a.view.groups()}); }
  bool is_aligned() const { return are_aligned(a.frames, a.logits, a.out); }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, 1> small(const Group& group) const {
    return gates<N>(a.logits + group.at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group&, I, I at) const {
    return cuda::load<N>(a.frames + at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Vec<T, N>& elements, const Values<E, N, 1>& gate, const Group&, I,
                          I at) const {
    store(a.out + at, narrowed<T>(widened(elements) * gate[0]));
    return {};
  }
};

template <typename T>
struct GateBackwardJob : PlaceIsGroup {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  struct Loaded {
    Vec<T, N> grad_out;
    Vec<T, N> frames;
  };
  template <int N>
  using Sums = cuda::Sums<E, N>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 1;

  GateBackwardArguments<T> a;

  bool by_planes() const { return a.view.inner == 1; }
  int64_t largest_tensor() const { return largest_of({a.view.size(), a.view.groups()}); }
  bool is_aligned() const {
    return are_aligned(a.grad_out, a.frames, a.logits, a.grad_frames, a.grad_logits);
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, 1> small(const Group& group) const {
    return gates<N>(a.logits + group.at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(a.grad_out + at), cuda::load<N>(a.frames + at)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<E, N, 1> visit(const Loaded<N>& loaded, const Values<E, N, 1>& gate,
                                   const Group&, I, I at) const {
    const Vec<E, N> d = widened(loaded.grad_out);
    store(a.grad_frames + at, narrowed<T>(d * gate[0]));
    return {{d * widened(loaded.frames)}};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& sums, const Values<E, N, 1>& small,
                         const Group& group) const {
    const Vec<E, N>& gate = small[0];
    store(a.grad_logits + group.at, gate * (repeated<N>(E{1}) - gate) * sums.sums[0]);
  }
};

}  // namespace stc::cuda
