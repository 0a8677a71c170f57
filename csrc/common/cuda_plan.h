// How a view is spread over a device, and the launches: decided on the host.
#pragma once

#include <limits>

#include "common/cuda_view.h"

namespace stc::cuda {

// Blocks, and warps, that keep the largest devices (132 multiprocessors) busy.
constexpr int64_t kBlocksWanted = 132;
constexpr int64_t kWarpsWanted = 8 * kBlocksWanted;

// Offsets up to here are counted in 32 bits. The rest is for what lies beyond the end: a thread's
// next rows or vectors, before it finds that there are none.
inline int64_t& largest_narrow_offset() {
  static int64_t largest = std::numeric_limits<int32_t>::max() - (1 << 20);
  return largest;
}

// body(I{}) for the type of offsets below size.
template <typename Body>
cudaError_t with_offsets(int64_t size, const Body& body) {
  return size <= largest_narrow_offset() ? body(int32_t{}) : body(int64_t{});
}

inline int64_t bounded(int64_t value, int64_t least, int64_t most) {
  return value < least ? least : value > most ? most : value;
}

// The largest power of two up to value, at least 1.
inline int power_of_two_below(int64_t value) {
  int power = 1;
  while (power <= value / 2) power *= 2;
  return power;
}

// Threads per block for `count` vectors, each thread taking kUnrolled: fewer where blocks are few.
inline int threads_for(int64_t count) {
  int threads = kColumnThreads;
  while (threads > kWarp && ceil_div(count, threads * kUnrolled) < 2 * kBlocksWanted) threads /= 2;
  return threads;
}

struct ColumnPlan {
  int lanes;
  int threads;
  int64_t tiles;
  int64_t splits;
  int64_t rows_per_split;

  // Columns are taken as vectors of `width`.
  ColumnPlan(const View& view, int width, bool may_split) {
    constexpr int kFewestLanes = 8;  // of 16 bytes: a line of the cache
    const int64_t vectors = view.inner / width;
    lanes = power_of_two_below(bounded(2 * vectors - 1, 1, kWarp));
    while (lanes > kFewestLanes && view.outer * ceil_div(vectors, lanes) < kBlocksWanted)
      lanes /= 2;
    tiles = ceil_div(vectors, lanes);
    const int rows =
        power_of_two_below(bounded(view.reduced / kUnrolled, 1, kColumnThreads / lanes));
    threads = lanes * rows < kWarp ? kWarp : lanes * rows;
    splits = 1;
    rows_per_split = view.reduced > 0 ? view.reduced : 1;
    const int64_t per_step = threads / lanes * kUnrolled;
    const int64_t warps = view.outer * tiles * (threads / kWarp);
    if (!may_split || view.reduced <= per_step || warps == 0) return;
    const int64_t wanted = bounded(ceil_div(kWarpsWanted, warps), 1, view.reduced / per_step);
    rows_per_split = ceil_div(view.reduced, wanted);
    splits = ceil_div(view.reduced, rows_per_split);
  }
};

template <typename Job>
int width_of_columns(const Job& job, const View& view) {
  constexpr int kWidest = kLanes<typename Job::Element>;
  return job.is_aligned() && view.inner % kWidest == 0 ? kWidest : 1;
}

template <int N, typename Job>
cudaError_t launch_columns(const Job& job, const View& view, const ColumnPlan& plan,
                           cudaStream_t stream) {
  return with_offsets(view.size(), [&](auto offset) {
    using I = decltype(offset);
    const ColumnWalk<I> walk{static_cast<I>(view.reduced),        static_cast<I>(view.inner),
                             static_cast<I>(plan.rows_per_split), static_cast<I>(plan.splits),
                             static_cast<I>(plan.tiles),          plan.lanes};
    const dim3 grid(static_cast<unsigned>(view.outer * plan.tiles * plan.splits));
    return launch(column_kernel<Job, N, I>, grid, dim3(plan.threads), 0, stream, job, walk);
  });
}

template <typename Job>
cudaError_t run_columns(const Job& job, const View& view, const ColumnPlan& plan,
                        cudaStream_t stream) {
  constexpr int kWidest = kLanes<typename Job::Element>;
  return width_of_columns(job, view) == kWidest ? launch_columns<kWidest>(job, view, plan, stream)
                                                : launch_columns<1>(job, view, plan, stream);
}

template <int N, int Lanes, typename Job>
cudaError_t launch_planes(const Job& job, const View& view, cudaStream_t stream) {
  return with_offsets(view.size(), [&](auto offset) {
    using I = decltype(offset);
    const dim3 grid(static_cast<unsigned>(ceil_div(view.outer, kPlaneThreads / Lanes)));
    return launch(plane_kernel<Job, N, Lanes, I>, grid, dim3(kPlaneThreads), 0, stream, job,
                  static_cast<I>(view.outer), static_cast<I>(view.reduced));
  });
}

// A quarter of a warp, a warp or a whole block per plane, for one vector per thread and more.
template <int N, typename Job>
cudaError_t run_planes_of(const Job& job, const View& view, cudaStream_t stream) {
  const int64_t vectors = view.reduced / N;
  if (vectors <= 16) return launch_planes<N, 8>(job, view, stream);
  if (vectors <= 256) return launch_planes<N, kWarp>(job, view, stream);
  return launch_planes<N, kPlaneThreads>(job, view, stream);
}

template <typename Job>
cudaError_t run_planes(const Job& job, const View& view, cudaStream_t stream) {
  constexpr int kWidest = kLanes<typename Job::Element>;
  return job.is_aligned() ? run_planes_of<kWidest>(job, view, stream)
                          : run_planes_of<1>(job, view, stream);
}

// Jobs that sum nothing up.
template <typename Job>
cudaError_t map_view(const Job& job, const View& view, cudaStream_t stream) {
  if (view.size() == 0) return cudaSuccess;
  if (view.inner == 1) return run_planes(job, view, stream);
  return run_columns(job, view, ColumnPlan(view, width_of_columns(job, view), true), stream);
}

// The first pass of two: leaves what it summed up in the scratch, (arrays, outer, splits, inner).
template <typename Job>
struct ToScratch : Job {
  typename Job::E* scratch;
  int64_t size;

  template <typename Result, typename Small, typename I>
  STC_DEVICE void finish(const Result& result, const Small&, I at) const {
    result.store_to(scratch, static_cast<I>(size), at);
  }
};

// The second.
template <typename Job>
struct FromScratch {
  using E = typename Job::E;
  using Element = E;
  template <int N>
  using Sums = typename Job::template Result<N>;
  template <int N>
  using Loaded = Sums<N>;
  static constexpr bool kHasSmall = Job::kHasSmall;

  Job job;
  const E* scratch;
  int64_t size;
  int64_t reduced;
  int64_t rows_per_split;

  bool is_aligned() const {
    return job.is_aligned() && cuda::is_aligned(scratch) && size % kLanes<E> == 0;
  }
  template <int N, typename I>
  STC_DEVICE Vec<E, N> small(I at) const {
    return job.template small<N>(at);
  }
  template <int N, typename I>
  STC_DEVICE Sums<N> load(I at) const {
    return Sums<N>::load_from(scratch, static_cast<I>(size), at);
  }
  template <typename Result, typename Small, typename I>
  STC_DEVICE Result visit(Result part, const Small&, I split, I) const {
    const I left = static_cast<I>(reduced) - split * static_cast<I>(rows_per_split);
    part.set_count(left < rows_per_split ? static_cast<E>(left) : static_cast<E>(rows_per_split));
    return part;
  }
  template <typename Result, typename Small, typename I>
  STC_DEVICE void finish(const Result& result, const Small& small, I at) const {
    job.finish(result, small, at);
  }
};

template <typename Job>
ColumnPlan plan_of_reduction(const Job& job, const View& view) {
  return ColumnPlan(view, width_of_columns(job, view), true);
}

// Bytes of scratch that reduce_view wants: none where one pass will do.
template <typename Job>
int64_t reduction_scratch_bytes(const Job& job, const View& view) {
  if (view.inner == 1) return 0;
  const int64_t splits = plan_of_reduction(job, view).splits;
  const int64_t arrays = Job::template Result<1>::kArrays;
  return splits == 1 ? 0
                     : arrays * view.outer * splits * view.inner * int64_t{sizeof(typename Job::E)};
}

template <typename Job>
cudaError_t reduce_view(const Job& job, const View& view, void* scratch, cudaStream_t stream) {
  using E = typename Job::E;
  if (view.outer * view.inner == 0) return cudaSuccess;
  if (view.inner == 1) return run_planes(job, view, stream);
  const ColumnPlan plan = plan_of_reduction(job, view);
  if (plan.splits == 1) return run_columns(job, view, plan, stream);
  const View parts{view.outer, plan.splits, view.inner};
  auto* sums = static_cast<E*>(scratch);
  const cudaError_t error =
      run_columns(ToScratch<Job>{job, sums, parts.size()}, view, plan, stream);
  if (error != cudaSuccess) return error;
  const FromScratch<Job> second{job, sums, parts.size(), view.reduced, plan.rows_per_split};
  return run_columns(second, parts, ColumnPlan(parts, width_of_columns(second, parts), false),
                     stream);
}

}  // namespace stc::cuda
