#pragma once

#include "common/cuda_affine.h"
#include "refine/refine.h"

namespace stc::cuda {

// One branch among the frames of the concatenation, in groups of a frame and channel, or of a clip,
// channel and pixel.
template <typename T, bool kPerPixel>
struct BranchLayout {
  using E = Accumulate<T>;

  FrameShape shape;  // of the concatenation
  RefineBranch<T> branch;

  View view() const {
    const int64_t pixels = shape.pixels(), channels = branch.channels;
    if (kPerPixel) return {shape.clips, shape.num_segments, channels * pixels};
    if (shape.channels_last) return {shape.frames(), pixels, channels};
    return {shape.frames() * channels, pixels, 1};
  }
  int64_t groups() const { return view().groups(); }

  // Vectors of columns stay vectors in the concatenation. Those of planes need not.
  bool is_aligned() const {
    const int64_t run = shape.channels_last ? 1 : shape.pixels();
    return (!kPerPixel && !shape.channels_last) || ((shape.channels * run) % kLanes<T> == 0 &&
                                                    (branch.first_channel * run) % kLanes<T> == 0 &&
                                                    (branch.channels * run) % kLanes<T> == 0);
  }

  template <typename Group>
  STC_DEVICE auto channel(const Group& group) const {
    using I = decltype(group.at);
    if constexpr (!kPerPixel) return channel_of(group, branch.channels);
    return shape.channels_last ? group.column % static_cast<I>(branch.channels)
                               : group.column / static_cast<I>(shape.height * shape.width);
  }

  // values[first_channel + channel] of N groups side by side.
  template <int N, typename Group>
  STC_DEVICE Vec<E, N> of_channels(const E* values, Group group) const {
    const E* first = values + branch.first_channel;
    if (!kPerPixel || shape.channels_last) return load_cached<N>(first + channel(group));
    Vec<E, N> loaded;
#pragma unroll
    for (int i = 0; i < N; ++i, ++group.column) loaded[i] = *(first + channel(group));
    return loaded;
  }

  // In the concatenation.
  template <int N, typename Group>
  STC_DEVICE auto rows(const Group& group) const {
    using I = decltype(group.at);
    const auto pixels = static_cast<I>(shape.height * shape.width);
    const auto all = static_cast<I>(shape.channels), first = static_cast<I>(branch.first_channel);
    const I among_all = first + channel(group);
    RowPlace<I, Group::kIsColumn> place{0, all, true};
    if constexpr (kPerPixel) {
      const I pixel = group.column / static_cast<I>(branch.channels);
      place.pitch = pixels * all;
      place.base = group.outer * static_cast<I>(shape.num_segments) * place.pitch +
                   (shape.channels_last ? pixel * all + among_all : first * pixels + group.column);
    } else if constexpr (Group::kIsColumn) {
      place.base = group.outer * pixels * all + among_all;
    } else {
      place.pitch = 1;
      place.base = (group.at / static_cast<I>(branch.channels) * all + among_all) * pixels;
      place.keeps_vectors = (place.base - group.at * pixels) % N == 0;
    }
    return place;
  }
};

// factor = gate * scale, and shift.
template <int N, typename Layout, typename T, typename Group>
STC_DEVICE void load_affine(const Layout& layout, const RefineArguments<T>& a, const Group& group,
                            Vec<Accumulate<T>, N>& factor, Vec<Accumulate<T>, N>& shift) {
  factor = layout.template of_channels<N>(a.scale, group);
  shift = layout.template of_channels<N>(a.shift, group);
  if (layout.branch.gated) factor = factor * load<N>(layout.branch.gate + group.at);
}

template <typename T, bool kPerPixel>
struct RefineJob {
  using Arguments = RefineArguments<T>;
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = !kPerPixel;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 2;

  Arguments a;
  BranchLayout<T, kPerPixel> layout;

  RefineJob(const Arguments& arguments, int branch)
      : a(arguments), layout{a.shape, a.branches[branch]} {}

  bool by_planes() const { return !layout.shape.channels_last; }
  int64_t largest_tensor() const { return layout.shape.elements(); }
  bool is_aligned() const {
    return are_aligned(layout.branch.y, layout.branch.gate, a.out) && layout.is_aligned();
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    Values<E, N, kSmall> values;
    load_affine(layout, a, group, values[0], values[1]);
    return values;
  }
  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    return layout.template rows<N>(group);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Vec<T, N> load(const Place&, I, I at) const {
    return cuda::load<N>(layout.branch.y + at);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE NoSums visit(const Vec<T, N>& y, const Values<E, N, kSmall>& values,
                          const Place& place, I row, I) const {
    const Vec<E, N> z = relu(values[0] * widened(y) + values[1]);
    place.store(a.out + place.offset(row), narrowed<T>(z));
    return {};
  }
};

// y of a branch, and the gradient of the concatenation.
template <typename T, int N>
struct RefineLoaded {
  Vec<T, N> y;
  Vec<T, N> grad_out;
};

template <typename T, bool kPerPixel>
struct RefineSumsJob {
  using Arguments = RefineBackwardArguments<T>;
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = RefineLoaded<T, N>;
  template <int N>
  using Sums = cuda::Sums<E, N, 2>;
  template <int N>
  using Result = Sums<N>;
  static constexpr bool kHasPlanes = !kPerPixel;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 3;

  Arguments b;
  RefineBranchBackward<T> backward;
  BranchLayout<T, kPerPixel> layout;
  int64_t groups;

  RefineSumsJob(const Arguments& arguments, int branch)
      : b(arguments),
        backward(b.branches[branch]),
        layout{b.forward.shape, b.forward.branches[branch]},
        groups(layout.groups()) {}

  bool by_planes() const { return !layout.shape.channels_last; }
  int64_t largest_tensor() const {
    return largest_of({layout.shape.elements(), Sums<1>::kArrays * groups});
  }
  bool is_aligned() const {
    return are_aligned(layout.branch.y, layout.branch.gate, b.grad_out, backward.sums) &&
           (!layout.branch.gated || are_aligned(backward.mean)) && layout.is_aligned();
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    Values<E, N, kSmall> values;
    load_affine(layout, b.forward, group, values[0], values[1]);
    values[2] = layout.branch.gated ? finite_or_zero(cuda::load<N>(backward.mean + group.at))
                                    : layout.template of_channels<N>(backward.mean, group);
    return values;
  }
  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    return layout.template rows<N>(group);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Loaded<N> load(const Place& place, I row, I at) const {
    return {cuda::load<N>(layout.branch.y + at),
            place.template load<N>(b.grad_out + place.offset(row))};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<E, N, 2> visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values,
                                   const Group&, I, I) const {
    const Vec<E, N> y = widened(loaded.y);
    const Vec<E, N> d = where_relu_passes(values[0] * y + values[1], widened(loaded.grad_out));
    return {{d, d * (y - values[2])}};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& result, const Values<E, N, kSmall>&,
                         const Group& group) const {
    store(backward.sums + group.at, result.sums[0]);
    store(backward.sums + (groups + group.at), result.sums[1]);
  }
};

template <typename T, bool kPerPixel>
struct RefineBackwardJob {
  using Arguments = RefineBackwardArguments<T>;
  using Element = T;
  using E = Accumulate<T>;
  template <int N>
  using Loaded = RefineLoaded<T, N>;
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = !kPerPixel;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 4;

  Arguments b;
  RefineBranchBackward<T> backward;
  BranchLayout<T, kPerPixel> layout;

  RefineBackwardJob(const Arguments& arguments, int branch)
      : b(arguments),
        backward(b.branches[branch]),
        layout{b.forward.shape, b.forward.branches[branch]} {}

  bool by_planes() const { return !layout.shape.channels_last; }
  int64_t largest_tensor() const { return layout.shape.elements(); }
  bool is_aligned() const {
    return are_aligned(layout.branch.y, layout.branch.gate, b.grad_out, backward.grad_y,
                       backward.grad_mean) &&
           layout.is_aligned();
  }
  template <int N, typename Group>
  STC_DEVICE Values<E, N, kSmall> small(const Group& group) const {
    Values<E, N, kSmall> values;
    load_affine(layout, b.forward, group, values[0], values[1]);
    values[2] = layout.template of_channels<N>(b.slope, group);
    values[3] = layout.template of_channels<N>(b.offset, group);
    if (!layout.branch.gated) return values;
    const Vec<E, N> gate = cuda::load<N>(layout.branch.gate + group.at);
    values[2] = values[2] * gate * gate;
    values[3] = values[3] * gate + cuda::load<N>(backward.grad_mean + group.at) * backward.share;
    return values;
  }
  template <int N, typename Group>
  STC_DEVICE auto place(const Group& group) const {
    return layout.template rows<N>(group);
  }
  template <int N, typename Place, typename I>
  STC_DEVICE Loaded<N> load(const Place& place, I row, I at) const {
    return {cuda::load<N>(layout.branch.y + at),
            place.template load<N>(b.grad_out + place.offset(row))};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& loaded, const Values<E, N, kSmall>& values, const Group&,
                          I, I at) const {
    const Vec<E, N> y = widened(loaded.y);
    const Vec<E, N> d = where_relu_passes(values[0] * y + values[1], widened(loaded.grad_out));
    store(backward.grad_y + at,
          narrowed<T>(values[0] * d + through_statistics(values[2], y, values[3])));
    return {};
  }
};

// Of both branches, as far as they have channels.
template <template <typename, bool> class Job>
struct RefineJobs {
  template <typename Arguments, typename Run>
  static void for_each(const Arguments& arguments, const Run& run) {
    for (int branch = 0; branch < 2; ++branch) run_branch(arguments, branch, run);
  }

 private:
  template <typename T>
  static const RefineArguments<T>& forward(const RefineArguments<T>& a) {
    return a;
  }
  template <typename T>
  static const RefineArguments<T>& forward(const RefineBackwardArguments<T>& b) {
    return b.forward;
  }
  template <template <typename> class Arguments, typename T, typename Run>
  static void run_branch(const Arguments<T>& arguments, int branch, const Run& run) {
    const RefineBranch<T>& of_branch = forward(arguments).branches[branch];
    if (of_branch.channels == 0) return;
    if (of_branch.gated_per_pixel) {
      const Job<T, true> job(arguments, branch);
      run(job, job.layout.view());
    } else {
      const Job<T, false> job(arguments, branch);
      run(job, job.layout.view());
    }
  }
};

}  // namespace stc::cuda
