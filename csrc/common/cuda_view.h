// The kernels that walk over a view, by columns or, where inner is 1, by planes, for jobs that say
// what is done to each vector of elements. A job has
//
//   Element, E             what is loaded, and what is computed with
//   kHasPlanes, by_planes()          whether it ever goes by planes, and whether now
//   kRowsAtOnce            rows, or vectors of a plane, that a thread loads before it uses them
//   kSmall                 how many values of small tensors a group of elements has
//   small<N>(group)        those values, of N groups side by side
//   place<N>(group)        what load and visit want to know that is the same for all rows
//   load<N>(place, row, at)          an element of each tensor
//   visit<N>(loaded, small, place, row, at)   does the work, and returns what is to be summed up
//   Sums<N>, Result<N>     what is summed up of N groups (NoSums: nothing), and becomes of it
//   finish(result, small, group)     takes that to the small tensors
//   is_aligned()           whether columns can be taken by vectors
//   largest_tensor()       elements of the largest of all tensors that it reads or writes
#pragma once

#include <type_traits>

#include "common/cuda_reduce.h"
#include "common/view.h"

namespace stc::cuda {

constexpr int kColumnThreads = 256;
constexpr int kPlaneThreads = 128;
// On a multiprocessor, at least: a bound for registers.
constexpr int kBlocksAtOnce = 2;

// The elements that share values of the small tensors: a column, or a plane.
template <typename I, bool kOfColumn>
struct Group {
  static constexpr bool kIsColumn = kOfColumn;

  I outer;
  I column;
  I at;  // in the small tensors
  I split;
};

// Of jobs that want to know no more.
struct PlaceIsGroup {
  template <int N, typename Group>
  STC_DEVICE Group place(const Group& group) const {
    return group;
  }
};

template <typename Job, int N>
using SmallOf = Values<typename Job::E, N, Job::kSmall>;

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

// The small tensors' values for the columns of a block are computed once. Takes the whole block.
template <int N, typename Job, typename Group>
STC_DEVICE SmallOf<Job, N> small_of_columns(const Job& job, const Group& group, int x, int y,
                                            bool inside) {
  using Small = SmallOf<Job, N>;
  if constexpr (Job::kSmall > 0) {
    STC_SHARED(Small, values, kWarp);
    if (y == 0 && inside) values[x] = job.template small<N>(group);
    __syncthreads();
    return inside ? values[x] : Small{};
  } else {
    return Small{};
  }
}

// Rows row, row + step, ... below end, of one vector of columns.
template <int N, typename Sums, typename Job, typename Place, typename I>
STC_DEVICE void visit_rows(Sums& sums, const Job& job, const SmallOf<Job, N>& small,
                           const Place& place, I column_at, I inner, I row, I end, int step) {
  constexpr int kRows = Job::kRowsAtOnce;
#pragma unroll 1
  for (; row < end; row += kRows * step) {
    typename Job::template Loaded<N> loaded[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      const I next = row + k * step;
      if (next < end) loaded[k] = job.template load<N>(place, next, column_at + next * inner);
    }
    auto&& terms = sums.begin_step();
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      const I next = row + k * step;
      if (next < end)
        terms.add(job.template visit<N>(loaded[k], small, place, next, column_at + next * inner));
    }
    sums.end_step(terms);
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
  const Group<I, true> group{outer, column, outer * walk.inner + column, split};
  const auto small = small_of_columns<N>(job, group, x, y, inside);
  Sums sums = Sums::none();
  if (inside) {
    const I first = split * walk.rows_per_split;
    const I left = walk.reduced - first;
    const I end = first + (left < walk.rows_per_split ? left : walk.rows_per_split);
    visit_rows<N>(sums, job, small, job.template place<N>(group),
                  outer * walk.reduced * walk.inner + column, walk.inner, first + y, end,
                  static_cast<int>(blockDim.x) / lanes);
  }
  if constexpr (Sums::kArrays > 0) {
    auto result = sum_of_warp(sums.result(), kWarp / 2, lanes);
    if (blockDim.x > kWarp) result = sum_of_warps<kColumnThreads / kWarp>(result, lanes);
    if (y == 0 && inside) job.template finish<N>(result, small, group);
  }
}

// Elements [begin, end) of a plane, by the threads lane, lane + lanes, ... With N > 1, vectors
// begin at multiples of N; what lies outside of them is left to visit_edges.
template <int N, typename Sums, typename Job, typename Place, typename I>
STC_DEVICE void visit_run(Sums& sums, const Job& job, const SmallOf<Job, N>& small,
                          const Place& place, I plane_at, I begin, I end, int lane, int lanes) {
  constexpr int kRows = Job::kRowsAtOnce;
  const int step = lanes * N;
#pragma unroll 1
  for (I at = begin + lane * N; at < end; at += kRows * step) {
    typename Job::template Loaded<N> loaded[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      const I next = at + k * step;
      if (next < end) loaded[k] = job.template load<N>(place, next - plane_at, next);
    }
    auto&& terms = sums.begin_step();
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      const I next = at + k * step;
      if (next < end)
        terms.add(job.template visit<N>(loaded[k], small, place, next - plane_at, next));
    }
    sums.end_step(terms);
  }
}

// The elements before `first` and from `last` on.
template <typename Sums, typename Job, typename Place, typename I>
STC_DEVICE void visit_edges(Sums& sums, const Job& job, const SmallOf<Job, 1>& small,
                            const Place& place, I begin, I first, I last, I end, int lane,
                            int lanes) {
  const int before = static_cast<int>(first - begin);
  const int count = before + static_cast<int>(end - last);
#pragma unroll 1
  for (int i = lane; i < count; i += lanes) {
    const I at = i < before ? begin + i : last + (i - before);
    const auto loaded = job.template load<1>(place, at - begin, at);
    sums.add(job.template visit<1>(loaded, small, place, at - begin, at));
  }
}

// For all threads of a plane, loaded once per warp of them.
template <typename Job, typename Group>
STC_DEVICE SmallOf<Job, 1> small_of_plane(const Job& job, const Group& group, bool inside,
                                          int lanes_of_warp) {
  SmallOf<Job, 1> small{};
  if constexpr (Job::kSmall > 0) {
    if (inside && threadIdx.x % lanes_of_warp == 0) small = job.template small<1>(group);
#pragma unroll
    for (int k = 0; k < Job::kSmall; ++k)
      small[k][0] = __shfl_sync(kWholeWarp, small[k][0], 0, lanes_of_warp);
  }
  return small;
}

// `lanes` threads to a plane: some of a warp, a warp, or all of the block.
template <typename Job, int N, typename I>
__global__ void __launch_bounds__(kPlaneThreads, kBlocksAtOnce)
    plane_kernel(Job job, I planes, I reduced, int lanes) {
  using Sums = typename Job::template Sums<N>;
  using EdgeSums = typename Job::template Sums<1>;
  const int lanes_of_warp = lanes < kWarp ? lanes : kWarp;
  const int lane = threadIdx.x % lanes;
  const I plane =
      static_cast<I>(blockIdx.x) * (kPlaneThreads / lanes) + static_cast<int>(threadIdx.x) / lanes;
  const bool inside = plane < planes;
  const Group<I, false> group{plane, 0, plane, 0};
  const auto small = small_of_plane(job, group, inside, lanes_of_warp);
  const I begin = inside ? plane * reduced : 0, end = inside ? begin + reduced : 0;
  const I aligned = begin + (N - begin % N) % N;
  const I first = aligned < end ? aligned : end;
  const I last = first + (end - first) / N * N;
  Sums sums = Sums::none();
  visit_run<N>(sums, job, repeated<N>(small), job.template place<N>(group), begin, first, last,
               lane, lanes);
  EdgeSums edges = EdgeSums::none();
  if constexpr (N > 1)
    visit_edges(edges, job, small, job.template place<1>(group), begin, first, last, end, lane,
                lanes);
  if constexpr (Sums::kArrays > 0) {
    auto result = folded<N>(sums.result());
    if constexpr (N > 1) result.add(edges.result());
    result = sum_of_warp(result, lanes_of_warp / 2, 1);
    if (lanes > kWarp) result = sum_of_warps<kPlaneThreads / kWarp>(result, 1);
    if (lane == 0 && inside) job.template finish<1>(result, small, group);
  }
}

}  // namespace stc::cuda
