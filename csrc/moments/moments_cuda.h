#pragma once

#include "common/cuda_plan.h"
#include "moments/moments.h"

namespace stc {
namespace cuda {

template <typename T>
struct MeanJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = cuda::Sums<E, N>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasSmall = false;

  const T* frames;
  E* mean;
  E scale;

  bool is_aligned() const { return cuda::is_aligned(frames) && cuda::is_aligned(mean); }
  template <int N, typename I>
  STC_DEVICE Vec<T, N> load(I at) const {
    return cuda::load<N>(frames + at);
  }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> visit(const Vec<T, N>& elements, const Vec<E, N>&, I, I) const {
    return widened(elements);
  }
  template <int N, typename I>
  STC_DEVICE void finish(const Sums<N>& sums, const Vec<E, N>&, I at) const {
    store(mean + at, sums.sum * scale);
  }
};

template <typename T>
struct MomentsJob {
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = PivotSums<E, N>;
  template <int N>
  using Result = Moments<E, N>;
  static constexpr bool kHasSmall = false;

  const T* frames;
  E* mean;
  E* m2;

  bool is_aligned() const {
    return cuda::is_aligned(frames) && cuda::is_aligned(mean) && cuda::is_aligned(m2);
  }
  template <int N, typename I>
  STC_DEVICE Vec<T, N> load(I at) const {
    return cuda::load<N>(frames + at);
  }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> visit(const Vec<T, N>& elements, const Vec<E, N>&, I, I) const {
    return widened(elements);
  }
  template <int N, typename I>
  STC_DEVICE void finish(const Moments<E, N>& moments, const Vec<E, N>&, I at) const {
    store(mean + at, moments.mean);
    store(m2 + at, moments.m2);
  }
};

template <typename T>
struct MeanBackwardJob {
  using Element = T;
  using E = Accumulate<T>;
  struct Nothing {};
  template <int N>
  using Loaded = Nothing;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasSmall = true;

  const E* grad_mean;
  T* grad_frames;
  E scale;

  bool is_aligned() const { return cuda::is_aligned(grad_mean) && cuda::is_aligned(grad_frames); }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> small(I at) const {
    return cuda::load<N>(grad_mean + at) * scale;
  }
  template <int N, typename I>
  STC_DEVICE Nothing load(I) const {
    return {};
  }
  template <int N, typename I>
  STC_DEVICE Nothing visit(Nothing, const Vec<E, N>& value, I, I at) const {
    store(grad_frames + at, narrowed<T>(value));
    return {};
  }
};

template <typename T>
MeanJob<T> job_of(const MeanArguments<T>& a) {
  return {a.frames, a.mean, 1 / static_cast<Accumulate<T>>(a.view.reduced)};
}

template <typename T>
MomentsJob<T> job_of(const MomentsArguments<T>& a) {
  return {a.frames, a.mean, a.m2};
}

}  // namespace cuda

template <typename T>
int64_t mean_scratch_bytes(const MeanArguments<T>& a) {
  return cuda::reduction_scratch_bytes(cuda::job_of(a), a.view);
}

template <typename T>
cudaError_t mean_forward_on_cuda(const MeanArguments<T>& a, void* scratch, cudaStream_t stream) {
  return cuda::reduce_view(cuda::job_of(a), a.view, scratch, stream);
}

template <typename T>
int64_t moments_scratch_bytes(const MomentsArguments<T>& a) {
  return cuda::reduction_scratch_bytes(cuda::job_of(a), a.view);
}

// Empty views (reduced == 0) have moments of zero.
template <typename T>
cudaError_t moments_forward_on_cuda(const MomentsArguments<T>& a, void* scratch,
                                    cudaStream_t stream) {
  return cuda::reduce_view(cuda::job_of(a), a.view, scratch, stream);
}

template <typename T>
cudaError_t mean_backward_on_cuda(const MeanBackwardArguments<T>& a, cudaStream_t stream) {
  const auto scale = 1 / static_cast<Accumulate<T>>(a.view.reduced);
  return cuda::map_view(cuda::MeanBackwardJob<T>{a.grad_mean, a.grad_frames, scale}, a.view,
                        stream);
}

}  // namespace stc
