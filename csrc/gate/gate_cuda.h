#pragma once

#include <cmath>

#include "common/cuda_plan.h"
#include "gate/gate.h"

namespace stc {
namespace cuda {

// Accurate to a few units in the last place.
template <typename E>
STC_DEVICE E sigmoid(E x) {
  const E z = std::exp(x < 0 ? x : -x);
  return (x < 0 ? z : E{1}) / (1 + z);
}

template <int N, typename E, typename I>
STC_DEVICE Vec<E, N> gates(const E* logits, I at) {
  Vec<E, N> gate = load<N>(logits + at);
#pragma unroll
  for (int i = 0; i < N; ++i) gate[i] = sigmoid(gate[i]);
  return gate;
}

template <typename T>
struct GateJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasSmall = true;

  const T* frames;
  const E* logits;
  T* out;

  bool is_aligned() const {
    return cuda::is_aligned(frames) && cuda::is_aligned(logits) && cuda::is_aligned(out);
  }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> small(I at) const {
    return gates<N>(logits, at);
  }
  template <int N, typename I>
  STC_DEVICE Vec<T, N> load(I at) const {
    return cuda::load<N>(frames + at);
  }
  template <int N, typename I>
  STC_DEVICE NoSums visit(const Vec<T, N>& elements, const Vec<E, N>& gate, I, I at) const {
    store(out + at, narrowed<T>(widened(elements) * gate));
    return {};
  }
};

template <typename T>
struct GateBackwardJob {
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
  static constexpr bool kHasSmall = true;

  const T* grad_out;
  const T* frames;
  const E* logits;
  T* grad_frames;
  E* grad_logits;

  bool is_aligned() const {
    return cuda::is_aligned(grad_out) && cuda::is_aligned(frames) && cuda::is_aligned(logits) &&
           cuda::is_aligned(grad_frames) && cuda::is_aligned(grad_logits);
  }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> small(I at) const {
    return gates<N>(logits, at);
  }
  template <int N, typename I>
  STC_DEVICE Loaded<N> load(I at) const {
    return {cuda::load<N>(grad_out + at), cuda::load<N>(frames + at)};
  }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> visit(const Loaded<N>& loaded, const Vec<E, N>& gate, I, I at) const {
    const Vec<E, N> d = widened(loaded.grad_out);
    store(grad_frames + at, narrowed<T>(d * gate));
    return d * widened(loaded.frames);
  }
  template <int N, typename I>
  STC_DEVICE void finish(const Sums<N>& sums, const Vec<E, N>& gate, I at) const {
    Vec<E, N> grad;
#pragma unroll
    for (int i = 0; i < N; ++i) grad[i] = gate[i] * (1 - gate[i]) * sums.sum[i];
    store(grad_logits + at, grad);
  }
};

template <typename T>
GateBackwardJob<T> job_of(const GateBackwardArguments<T>& a) {
  return {a.grad_out, a.frames, a.logits, a.grad_frames, a.grad_logits};
}

}  // namespace cuda

template <typename T>
cudaError_t gate_forward_on_cuda(const GateArguments<T>& a, cudaStream_t stream) {
  return cuda::map_view(cuda::GateJob<T>{a.frames, a.logits, a.out}, a.view, stream);
}

template <typename T>
int64_t gate_backward_scratch_bytes(const GateBackwardArguments<T>& a) {
  return cuda::reduction_scratch_bytes(cuda::job_of(a), a.view);
}

template <typename T>
cudaError_t gate_backward_on_cuda(const GateBackwardArguments<T>& a, void* scratch,
                                  cudaStream_t stream) {
  return cuda::reduce_view(cuda::job_of(a), a.view, scratch, stream);
}

}  // namespace stc
