// The kernels that walk over a view, by columns (inner > 1) or by planes (inner == 1), for jobs
// that say what is done to each vector of elements. A job has
//
//   Element, E             what is loaded, and what is computed with
//   Sums<N>                what is summed up of N columns: NoSums where nothing is
//   kHasSmall              whether the small tensor, (outer, inner), is an input
//   small<N>(at)           its values
//   load<N>(at)            an element of each input
//   visit(loaded, small, row, at)   does the work and returns what is to be summed up
//   finish(sums, small, at)         takes what became of it to the small tensor
//   is_aligned()           whether all tensors are aligned for vectors
#pragma once

#include "common/cuda_reduce.h"
#include "common/view.h"

namespace stc::cuda {

constexpr int kColumnThreads = 256;
constexpr int kPlaneThreads = 128;
constexpr int kUnrolled = 4;
// On a multiprocessor, at least: a bound for registers.
constexpr int kBlocksAtOnce = 2;

// Blocks are (split, tile of columns, outer index), the split running fastest; threads (row,
// column), the column running fastest.
template <typename I>
struct ColumnWalk {
  I reduced;
  I inner;
  I rows_per_split;
  I splits;
  I tiles;
  int lanes;  // vectors of adjacent columns in a block: a power of two, up to a warp
};

// The small tensor's values for the columns of a block are computed once. Takes the whole block.
template <int N, typename Job, typename I>
STC_DEVICE Vec<typename Job::E, N> small_of_columns(const Job& job, I at, int x, int y,
                                                    bool inside) {
  using Values = Vec<typename Job::E, N>;
  if constexpr (Job::kHasSmall) {
    STC_SHARED(Values, values, kWarp);
    if (y == 0 && inside) values[x] = job.template small<N>(at);
    __syncthreads();
    return inside ? values[x] : Values{};
  } else {
    return Values{};
  }
}

// Rows row, row + step, ... below end, of one vector of columns.
template <int N, typename Sums, typename Job, typename I, typename Small>
STC_DEVICE void visit_rows(Sums& sums, const Job& job, const Small& small, I column_at, I inner,
                           I row, I end, int step) {
#pragma unroll 1
  for (; row < end; row += kUnrolled * step) {
    typename Job::template Loaded<N> loaded[kUnrolled];
#pragma unroll
    for (int k = 0; k < kUnrolled; ++k)
      if (row + k * step < end)
        loaded[k] = job.template load<N>(column_at + (row + k * step) * inner);
#pragma unroll
    for (int k = 0; k < kUnrolled; ++k) {
      const I next = row + k * step;
      if (next < end) sums.add(job.visit(loaded[k], small, next, column_at + next * inner));
    }
  }
}

template <typename Job, int N, typename I>
__global__ void __launch_bounds__(kColumnThreads, kBlocksAtOnce)
    column_kernel(Job job, ColumnWalk<I> walk) {
  using Sums = typename Job::template Sums<N>;
  const int lanes = walk.lanes;
  const int x = threadIdx.x % lanes, y = threadIdx.x / lanes;
  const I block = blockIdx.x;
  const I split = block % walk.splits, rest = block / walk.splits;
  const I outer = rest / walk.tiles, column = (rest % walk.tiles * lanes + x) * N;
  const bool inside = column < walk.inner;
  const auto small = small_of_columns<N>(job, outer * walk.inner + column, x, y, inside);
  Sums sums = Sums::none();
  if (inside) {
    const I first = split * walk.rows_per_split;
    const I left = walk.reduced - first;
    const I end = first + (left < walk.rows_per_split ? left : walk.rows_per_split);
    visit_rows<N>(sums, job, small, outer * walk.reduced * walk.inner + column, walk.inner,
                  first + y, end, static_cast<int>(blockDim.x) / lanes);
  }
  if constexpr (Sums::kArrays > 0) {
    auto result = sum_of_warp(sums.result(), kWarp / 2, lanes);
    if (blockDim.x > kWarp) result = sum_of_warps<kColumnThreads / kWarp>(result, lanes);
    if (y == 0 && inside)
      job.finish(result, small, (outer * walk.splits + split) * walk.inner + column);
  }
}

// Elements [begin, end) of a plane, by the threads lane, lane + lanes, ... With N > 1, vectors
// begin at multiples of N; what lies outside of them is left to visit_edges.
template <int N, int Lanes, typename Sums, typename Job, typename I, typename Small>
STC_DEVICE void visit_run(Sums& sums, const Job& job, const Small& small, I begin, I end,
                          int lane) {
  constexpr int kStep = Lanes * N;
#pragma unroll 1
  for (I at = begin + lane * N; at < end; at += kUnrolled * kStep) {
    typename Job::template Loaded<N> loaded[kUnrolled];
#pragma unroll
    for (int k = 0; k < kUnrolled; ++k)
      if (at + k * kStep < end) loaded[k] = job.template load<N>(at + k * kStep);
#pragma unroll
    for (int k = 0; k < kUnrolled; ++k)
      if (at + k * kStep < end) sums.add(job.visit(loaded[k], small, I{0}, at + k * kStep));
  }
}

// The elements before `first` and from `last` on.
template <int Lanes, typename Sums, typename Job, typename I, typename Small>
STC_DEVICE void visit_edges(Sums& sums, const Job& job, const Small& small, I begin, I first,
                            I last, I end, int lane) {
  const int before = static_cast<int>(first - begin);
  const int count = before + static_cast<int>(end - last);
#pragma unroll 1
  for (int i = lane; i < count; i += Lanes) {
    const I at = i < before ? begin + i : last + (i - before);
    sums.add(job.visit(job.template load<1>(at), small, I{0}, at));
  }
}

// One value for all threads of a plane, loaded once per warp of them.
template <int Lanes, typename Job, typename I>
STC_DEVICE typename Job::E small_of_plane(const Job& job, I plane, bool inside) {
  constexpr int kShared = Lanes < kWarp ? Lanes : kWarp;
  typename Job::E value = 0;
  if constexpr (Job::kHasSmall) {
    if (inside && threadIdx.x % kShared == 0) value = job.template small<1>(plane)[0];
    value = __shfl_sync(0xffffffffu, value, 0, kShared);
  }
  return value;
}

template <typename Job, int N, int Lanes, typename I>
__global__ void __launch_bounds__(kPlaneThreads, kBlocksAtOnce)
    plane_kernel(Job job, I planes, I reduced) {
  using E = typename Job::E;
  using Sums = typename Job::template Sums<N>;
  using EdgeSums = typename Job::template Sums<1>;
  const int lane = threadIdx.x % Lanes;
  const I plane =
      static_cast<I>(blockIdx.x) * (kPlaneThreads / Lanes) + static_cast<int>(threadIdx.x) / Lanes;
  const bool inside = plane < planes;
  const E value = small_of_plane<Lanes>(job, plane, inside);
  const I begin = inside ? plane * reduced : 0, end = inside ? begin + reduced : 0;
  const I aligned = begin + (N - begin % N) % N;
  const I first = aligned < end ? aligned : end;
  const I last = first + (end - first) / N * N;
  Sums sums = Sums::none();
  visit_run<N, Lanes>(sums, job, repeated<N>(value), first, last, lane);
  EdgeSums edges = EdgeSums::none();
  if constexpr (N > 1)
    visit_edges<Lanes>(edges, job, repeated<1>(value), begin, first, last, end, lane);
  if constexpr (Sums::kArrays > 0) {
    auto result = folded(sums.result());
    if constexpr (N > 1) result.add(edges.result());
    result = sum_of_warp(result, (Lanes < kWarp ? Lanes : kWarp) / 2, 1);
    if constexpr (Lanes > kWarp) result = sum_of_warps<kPlaneThreads / kWarp>(result, 1);
    if (lane == 0 && inside) job.finish(result, repeated<1>(value), plane);
  }
}

}  // namespace stc::cuda
