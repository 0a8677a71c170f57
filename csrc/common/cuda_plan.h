// How a view is spread over a device, and the launches: decided on the host.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <type_traits>

#include "common/cuda_kernels.h"
#include "common/cuda_view.h"
#if defined(STC_TEST_OFFSETS)
#include "tests/offsets/narrow_offset.h"
#endif

namespace stc::cuda {

// Blocks, and warps, that keep the largest devices (132 multiprocessors) busy. Of reductions fewer
// warps: each split leaves sums that have to be read again.
constexpr int64_t kBlocksWanted = 132;
constexpr int64_t kWarpsOfMapping = 16 * kBlocksWanted;
constexpr int64_t kWarpsOfReduction = 8 * kBlocksWanted;

#if defined(STC_TEST_OFFSETS)
constexpr int64_t kLargestNarrowOffset = NarrowOffset::kLargest;
constexpr int64_t kBeyondTheEnd = 1 << 13;
#else
using NarrowOffset = int32_t;
constexpr int64_t kLargestNarrowOffset = std::numeric_limits<NarrowOffset>::max();
constexpr int64_t kBeyondTheEnd = 1 << 20;
#endif

// Tensors of up to so many elements have narrow offsets. The rest is for what lies beyond the end:
// a thread's next rows or vectors, before it finds that there are none.
inline int64_t& largest_narrow_tensor() {
  static int64_t largest = kLargestNarrowOffset - kBeyondTheEnd;
  return largest;
}

// The sizes of all tensors that a launch reads or writes, or of those that are no smaller than the
// others.
inline int64_t largest_of(std::initializer_list<int64_t> sizes) {
  return *std::max_element(sizes.begin(), sizes.end());
}

template <typename Job>
int64_t largest_tensor_of(const Job& job, const View& view) {
  return largest_of({view.size(), view.groups(), job.largest_tensor()});
}

// body(I{}) for the type of offsets in tensors of up to so many elements. Kernels without vectors
// are for odd cases: one type is enough.
template <bool kByVectors, typename Body>
cudaError_t with_offsets([[maybe_unused]] int64_t largest_tensor, const Body& body) {
  if constexpr (kByVectors)
    if (largest_tensor <= largest_narrow_tensor()) return body(NarrowOffset{});
  return body(int64_t{});
}

// More blocks than a grid can have are an error of the launch, and not fewer blocks.
inline dim3 grid_of(int64_t blocks) {
  constexpr int64_t kMost = std::numeric_limits<unsigned>::max();
  return dim3(static_cast<unsigned>(blocks < kMost ? blocks : kMost));
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

struct ColumnPlan {
  int lanes;
  int threads;
  int64_t tiles;
  int64_t splits = 1;
  int64_t rows_per_split;

  // Of columns taken as vectors of `width`, of which a thread takes rows_at_once; the reduced axis
  // in blocks of `most_rows`.
  ColumnPlan(const View& view, int width, int rows_at_once, int64_t most_rows)
      : rows_per_split(bounded(most_rows, 1, view.reduced > 0 ? view.reduced : 1)) {
    constexpr int kFewestLanes = 4;  // of 16 bytes: two sectors of memory
    const int64_t vectors = ceil_div(view.inner, width);
    lanes = power_of_two_below(bounded(2 * vectors - 1, 1, kWarp));
    while (lanes > kFewestLanes && view.outer * ceil_div(vectors, lanes) < kBlocksWanted)
      lanes /= 2;
    tiles = ceil_div(vectors, lanes);
    const int rows =
        power_of_two_below(bounded(rows_per_split / rows_at_once, 1, kColumnThreads / lanes));
    threads = lanes * rows < kWarp ? kWarp : lanes * rows;
    splits = view.reduced > 0 ? ceil_div(view.reduced, rows_per_split) : 1;
  }

  // The same in as many blocks as keep the device busy.
  static ColumnPlan filling(const View& view, int width, int rows_at_once, int64_t warps_wanted) {
    const ColumnPlan whole(view, width, rows_at_once, view.reduced);
    const int64_t per_step = whole.threads / whole.lanes * rows_at_once;
    const int64_t warps = view.outer * whole.tiles * (whole.threads / kWarp);
    if (view.reduced <= per_step || warps == 0) return whole;
    const int64_t wanted = bounded(ceil_div(warps_wanted, warps), 1, view.reduced / per_step);
    return {view, width, rows_at_once, ceil_div(view.reduced, wanted)};
  }
};

template <typename Job>
int width_of_columns(const Job& job, const View& view) {
  constexpr int kWidest = kLanes<typename Job::Element>;
  return job.is_aligned() && view.inner % kWidest == 0 ? kWidest : 1;
}

// In blocks of most_rows, or in as many as keep the device busy.
template <typename Job>
ColumnPlan plan_of(const Job& job, const View& view, int64_t most_rows) {
  return {view, width_of_columns(job, view), Job::kRowsAtOnce, most_rows};
}
template <typename Job>
ColumnPlan filling_plan_of(const Job& job, const View& view, int64_t warps_wanted) {
  return ColumnPlan::filling(view, width_of_columns(job, view), Job::kRowsAtOnce, warps_wanted);
}

template <int N, typename Job>
cudaError_t launch_columns(const Job& job, const View& view, const ColumnPlan& plan,
                           cudaStream_t stream) {
  return with_offsets<(N > 1)>(largest_tensor_of(job, view), [&](auto offset) {
    using I = decltype(offset);
    const ColumnWalk<I> walk{static_cast<I>(view.reduced),        static_cast<I>(view.inner),
                             static_cast<I>(plan.rows_per_split), static_cast<I>(plan.splits),
                             static_cast<I>(plan.tiles),          plan.lanes};
    const dim3 grid = grid_of(view.outer * plan.tiles * plan.splits);
    return launch(column_kernel<Job, N, I>, grid, dim3(plan.threads), 0, stream, job, walk);
  });
}

template <typename Job>
cudaError_t run_columns(const Job& job, const View& view, const ColumnPlan& plan,
                        cudaStream_t stream) {
  constexpr int kWidest = kLanes<typename Job::Element>;
  if (view.outer * view.inner == 0) return cudaSuccess;
  return width_of_columns(job, view) == kWidest ? launch_columns<kWidest>(job, view, plan, stream)
                                                : launch_columns<1>(job, view, plan, stream);
}

// A quarter of a warp, a warp or a whole block per plane, for one vector per thread and more.
inline int lanes_of_plane(int64_t vectors) {
  return vectors <= 16 ? kWarp / 4 : vectors <= 256 ? kWarp : kPlaneThreads;
}

template <int N, typename Job>
cudaError_t launch_planes(const Job& job, const View& view, cudaStream_t stream) {
  const int lanes = lanes_of_plane(view.reduced / N);
  return with_offsets<(N > 1)>(largest_tensor_of(job, view), [&](auto offset) {
    using I = decltype(offset);
    const dim3 grid = grid_of(ceil_div(view.outer, kPlaneThreads / lanes));
    return launch(plane_kernel<Job, N, I>, grid, dim3(kPlaneThreads), 0, stream, job,
                  static_cast<I>(view.outer), static_cast<I>(view.reduced), lanes);
  });
}

template <typename Job>
cudaError_t run_planes(const Job& job, const View& view, cudaStream_t stream) {
  constexpr int kWidest = kLanes<typename Job::Element>;
  if (view.outer == 0) return cudaSuccess;
  return job.is_aligned() ? launch_planes<kWidest>(job, view, stream)
                          : launch_planes<1>(job, view, stream);
}

// Jobs that sum nothing up.
template <typename Job>
cudaError_t map_columns(const Job& job, const View& view, cudaStream_t stream) {
  return view.size() == 0
             ? cudaSuccess
             : run_columns(job, view, filling_plan_of(job, view, kWarpsOfMapping), stream);
}

template <typename Job>
cudaError_t map_view(const Job& job, const View& view, cudaStream_t stream) {
  if constexpr (Job::kHasPlanes)
    if (job.by_planes()) return view.size() == 0 ? cudaSuccess : run_planes(job, view, stream);
  return map_columns(job, view, stream);
}

// The first pass of two: leaves what it summed up in the scratch, (arrays, outer, splits, inner).
template <typename Job>
struct ToScratch : Job {
  typename Job::E* scratch;
  int64_t size;
  int64_t splits;
  int64_t inner;

  int64_t largest_tensor() const {
    return largest_of({Job::largest_tensor(), Job::template Result<1>::kArrays * size});
  }
  template <int N, typename Result, typename Small, typename I>
  STC_DEVICE void finish(const Result& result, const Small&, const Group<I, true>& group) const {
    const I row = group.outer * static_cast<I>(splits) + group.split;
    result.store_to(scratch, static_cast<I>(size), row * static_cast<I>(inner) + group.column);
  }
};

// The second.
template <typename Job>
struct FromScratch : PlaceIsGroup {
  using E = typename Job::E;
  using Element = E;
  template <int N>
  using Sums = typename Job::template Result<N>;
  template <int N>
  using Loaded = Sums<N>;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = Job::kSmall;

  Job job;
  const E* scratch;
  int64_t size;
  int64_t reduced;
  int64_t rows_per_split;

  int64_t largest_tensor() const {
    return largest_of({job.largest_tensor(), Job::template Result<1>::kArrays * size});
  }
  bool is_aligned() const {
    return job.is_aligned() && are_aligned(scratch) && size % kLanes<E> == 0;
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    return job.template small<N>(group);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Sums<N> load(const Group&, I, I at) const {
    return Sums<N>::load_from(scratch, static_cast<I>(size), at);
  }
  template <int N, typename Small, typename Group, typename I>
  STC_DEVICE Sums<N> visit(Sums<N> part, const Small&, const Group&, I split, I) const {
    const I left = static_cast<I>(reduced) - split * static_cast<I>(rows_per_split);
    part.set_count(left < rows_per_split ? static_cast<E>(left) : static_cast<E>(rows_per_split));
    return part;
  }
  template <int N, typename Small, typename Group>
  STC_DEVICE void finish(const Sums<N>& result, const Small& small, const Group& group) const {
    job.template finish<N>(result, small, group);
  }
};

// Bytes of scratch that reduce_columns wants: none where one pass will do.
template <typename Job>
int64_t columns_scratch_bytes(const Job& job, const View& view) {
  const int64_t splits = filling_plan_of(job, view, kWarpsOfReduction).splits;
  const int64_t arrays = Job::template Result<1>::kArrays;
  return splits == 1 ? 0
                     : arrays * view.outer * splits * view.inner * int64_t{sizeof(typename Job::E)};
}

template <typename Job>
cudaError_t reduce_columns(const Job& job, const View& view, void* scratch, cudaStream_t stream) {
  using E = typename Job::E;
  const ColumnPlan plan = filling_plan_of(job, view, kWarpsOfReduction);
  const View parts{view.outer, plan.splits, view.inner};
  if (plan.splits == 1) return run_columns(job, view, plan, stream);
  auto* sums = static_cast<E*>(scratch);
  const cudaError_t error = run_columns(
      ToScratch<Job>{job, sums, parts.size(), plan.splits, parts.inner}, view, plan, stream);
  if (error != cudaSuccess) return error;
  const FromScratch<Job> second{{}, job, sums, parts.size(), view.reduced, plan.rows_per_split};
  return run_columns(second, parts, plan_of(second, parts, parts.reduced), stream);
}

template <typename Job>
int64_t reduction_scratch_bytes(const Job& job, const View& view) {
  if constexpr (Job::kHasPlanes)
    if (job.by_planes()) return 0;
  return columns_scratch_bytes(job, view);
}

template <typename Job>
cudaError_t reduce_view(const Job& job, const View& view, void* scratch, cudaStream_t stream) {
  if constexpr (Job::kHasPlanes)
    if (job.by_planes()) return run_planes(job, view, stream);
  return reduce_columns(job, view, scratch, stream);
}

template <typename Arguments>
int64_t no_scratch(const Arguments&) {
  return 0;
}

// Jobs of arguments with a view: for_each(arguments, run) calls run(job, view) for all that there
// is to do.
template <typename Job>
struct JobOfView {
  template <typename Arguments, typename Run>
  static void for_each(const Arguments& a, const Run& run) {
    run(Job{{}, a}, a.view);
  }
};

template <typename Jobs, typename Arguments>
int map_jobs(const Arguments& a, void*, void* stream) {
  cudaError_t error = cudaSuccess;
  Jobs::for_each(a, [&](const auto& job, const View& view) {
    if (error == cudaSuccess) error = map_view(job, view, static_cast<cudaStream_t>(stream));
  });
  return error;
}

// One after the other on the stream: they share the scratch.
template <typename Jobs, typename Arguments>
int reduce_jobs(const Arguments& a, void* scratch, void* stream) {
  cudaError_t error = cudaSuccess;
  Jobs::for_each(a, [&](const auto& job, const View& view) {
    if (error == cudaSuccess)
      error = reduce_view(job, view, scratch, static_cast<cudaStream_t>(stream));
  });
  return error;
}

template <typename Jobs, typename Arguments>
int64_t scratch_bytes_of_jobs(const Arguments& a) {
  int64_t most = 0;
  Jobs::for_each(a, [&](const auto& job, const View& view) {
    const int64_t bytes = reduction_scratch_bytes(job, view);
    if (bytes > most) most = bytes;
  });
  return most;
}

// A result per plane, or per job.most_rows() rows of columns.
template <typename Jobs, typename Arguments>
int reduce_blocks(const Arguments& a, void*, void* queue) {
  const auto stream = static_cast<cudaStream_t>(queue);
  cudaError_t error = cudaSuccess;
  Jobs::for_each(a, [&](const auto& job, const View& view) {
    using Job = std::decay_t<decltype(job)>;
    if constexpr (Job::kHasPlanes)
      if (job.by_planes()) return void(error = run_planes(job, view, stream));
    error = run_columns(job, view, plan_of(job, view, job.most_rows()), stream);
  });
  return error;
}

template <typename Jobs>
struct Mapping {
  template <typename Arguments>
  constexpr operator CudaKernel<Arguments>() const {
    return {no_scratch<Arguments>, map_jobs<Jobs, Arguments>};
  }
};

template <typename Jobs>
struct Reduction {
  template <typename Arguments>
  constexpr operator CudaKernel<Arguments>() const {
    return {scratch_bytes_of_jobs<Jobs, Arguments>, reduce_jobs<Jobs, Arguments>};
  }
};

template <typename Jobs>
struct BlockReduction {
  template <typename Arguments>
  constexpr operator CudaKernel<Arguments>() const {
    return {no_scratch<Arguments>, reduce_blocks<Jobs, Arguments>};
  }
};

}  // namespace stc::cuda
