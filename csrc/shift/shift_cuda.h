#pragma once

#include "common/cuda_plan.h"
#include "shift/shift.h"

namespace stc::cuda {

// Vectors that a thread loads before it stores them.
constexpr int kShiftedAtOnce = 4;

template <typename T, typename I>
struct ShiftJob {
  const T* in;
  T* out;
  I num_segments;
  I frame;      // elements of one
  I pitch;      // elements of a row
  I fold;       // elements of `fold` channels
  I direction;  // frames
  I blocks_per_frame;

  // Frames later that the element `in_row` of a row comes from.
  STC_DEVICE I frames_later(I in_row) const {
    return in_row < fold ? direction : in_row < 2 * fold ? -direction : 0;
  }

  template <int N>
  STC_DEVICE Vec<T, N> load_from(I index, I at, I later) const {
    const I time = index % num_segments + later;
    if (time < 0 || time >= num_segments) return {};
    return load<N>(in + ((index + later) * frame + at));
  }

  // A vector may lie across the channels that go different ways, but not across rows.
  template <int N>
  STC_DEVICE Vec<T, N> shifted(I index, I at) const {
    const I in_row = at % pitch;
    const I later = frames_later(in_row);
    if (later == frames_later(in_row + N - 1)) return load_from<N>(index, at, later);
    Vec<T, N> elements;
#pragma unroll
    for (int i = 0; i < N; ++i)
      elements[i] = load_from<1>(index, at + i, frames_later(in_row + i))[0];
    return elements;
  }
};

template <typename T, int N, typename I>
__global__ void __launch_bounds__(kColumnThreads) shift_kernel(ShiftJob<T, I> job) {
  const I block = blockIdx.x;
  const I index = block / job.blocks_per_frame;
  const I step = static_cast<I>(blockDim.x) * N;
  const I first =
      block % job.blocks_per_frame * (kShiftedAtOnce * step) + static_cast<I>(threadIdx.x) * N;
  Vec<T, N> elements[kShiftedAtOnce];
#pragma unroll
  for (int k = 0; k < kShiftedAtOnce; ++k)
    if (first + k * step < job.frame)
      elements[k] = job.template shifted<N>(index, first + k * step);
#pragma unroll
  for (int k = 0; k < kShiftedAtOnce; ++k)
    if (first + k * step < job.frame)
      store(job.out + (index * job.frame + first + k * step), elements[k]);
}

// Threads per block for `count` vectors: fewer where blocks are few.
inline int shift_threads(int64_t count) {
  int threads = kColumnThreads;
  while (threads > kWarp && ceil_div(count, threads * kShiftedAtOnce) < 2 * kBlocksWanted)
    threads /= 2;
  return threads;
}

template <int N, typename T>
cudaError_t shift_by_vectors(const ShiftArguments<T>& a, cudaStream_t stream) {
  const int64_t pitch = a.channels * a.inner, frame = a.rows * pitch;
  return with_offsets<(N > 1)>(a.frames * frame, [&](auto offset) {
    using I = decltype(offset);
    const int threads = shift_threads(a.frames * frame / N);
    const int64_t blocks = ceil_div(frame, int64_t{threads} * kShiftedAtOnce * N);
    const ShiftJob<T, I> job{a.in,
                             a.out,
                             static_cast<I>(a.num_segments),
                             static_cast<I>(frame),
                             static_cast<I>(pitch),
                             static_cast<I>(a.fold * a.inner),
                             static_cast<I>(a.direction),
                             static_cast<I>(blocks)};
    return launch(shift_kernel<T, N, I>, grid_of(a.frames * blocks), dim3(threads), 0, stream, job);
  });
}

template <typename T>
int shift(const ShiftArguments<T>& a, void*, void* stream) {
  constexpr int kWidest = kLanes<T>;
  const int64_t pitch = a.channels * a.inner;
  const auto queue = static_cast<cudaStream_t>(stream);
  if (a.frames * a.rows * pitch == 0) return cudaSuccess;
  const bool by_vectors = are_aligned(a.in, a.out) && pitch % kWidest == 0;
  return by_vectors ? shift_by_vectors<kWidest>(a, queue) : shift_by_vectors<1>(a, queue);
}

}  // namespace stc::cuda
