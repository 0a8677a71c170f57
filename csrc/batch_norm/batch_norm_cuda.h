#pragma once

#include <cmath>

#include "batch_norm/batch_norm.h"
#include "common/cuda_affine.h"
#include "gate/gate_cuda.h"

namespace stc::cuda {

inline View group_view(const GroupShape& shape) {
  if (shape.inner > 1) return {shape.outer * shape.channels, shape.inner, 1};
  return {1, shape.outer, shape.channels};
}

// The block of groups that a group of columns, or a plane, is.
template <typename Group>
STC_DEVICE auto block_of(const Group& group, int64_t channels) {
  if constexpr (Group::kIsColumn) return group.split;
  return group.at / static_cast<decltype(group.at)>(channels);
}

// A job of these arguments, in blocks of `most_rows` rows or by planes.
template <template <typename> class Job>
struct JobOfGroups {
  template <template <typename> class Arguments, typename T, typename Run>
  static void for_each(const Arguments<T>& a, const Run& run) {
    if (a.shape.size() > 0) run(Job<T>{{}, a}, group_view(a.shape));
  }
};

template <typename T>
struct GatedMomentsJob : PlaceIsGroup {
  using Element = T;
  using E = double;
  template <int N>
  struct Loaded {
    Vec<T, N> mean;
    Vec<T, N> m2;
    Vec<T, N> gate;
  };
  template <int N>
  using Sums = Moments<double, N>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 0;

  GatedMomentsArguments<T> a;

  int64_t most_rows() const { return kGroupsPerBlock; }
  bool by_planes() const { return a.shape.inner > 1; }
  int64_t largest_tensor() const {
    return largest_of({a.shape.size(), blocks_of(a.shape) * a.shape.channels});
  }
  bool is_aligned() const {
    return are_aligned(a.mean, a.m2, a.logits, a.gate, a.block_mean, a.block_m2);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(a.mean + at), cuda::load<N>(a.m2 + at),
            a.logits == nullptr
                ? repeated<N>(T{1})
                : converted<T>(sigmoids(converted<double>(cuda::load<N>(a.logits + at))))};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Moments<double, N> visit(const Loaded<N>& loaded, const Values<double, N, 0>&,
                                      const Group&, I, I at) const {
    if (a.logits != nullptr) store(a.gate + at, loaded.gate);
    const Vec<double, N> gate = converted<double>(loaded.gate);
    return {converted<double>(loaded.mean) * gate, converted<double>(loaded.m2) * (gate * gate),
            static_cast<double>(a.group_size)};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Moments<double, N>& moments, const Values<double, N, 0>&,
                         const Group& group) const {
    const auto channels = static_cast<decltype(group.at)>(a.shape.channels);
    const auto at = block_of(group, channels) * channels + channel_of(group, channels);
    store(a.block_mean + at, moments.mean);
    store(a.block_m2 + at, moments.m2);
  }
};

template <typename T>
struct MergedMomentsJob : PlaceIsGroup {
  using Element = double;
  using E = double;
  template <int N>
  struct Loaded {
    Vec<double, N> mean;
    Vec<double, N> m2;
  };
  template <int N>
  using Sums = Moments<double, N>;
  static constexpr bool kHasPlanes = false;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 0;

  MergedMomentsArguments<T> a;

  template <typename Run>
  static void for_each(const MergedMomentsArguments<T>& a, const Run& run) {
    run(MergedMomentsJob{{}, a}, View{1, blocks_of(a.shape), a.shape.channels});
  }

  int64_t most_rows() const { return blocks_of(a.shape); }
  int64_t largest_tensor() const { return blocks_of(a.shape) * a.shape.channels; }
  bool is_aligned() const { return are_aligned(a.block_mean, a.block_m2, a.mean, a.var); }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(a.block_mean + at), cuda::load<N>(a.block_m2 + at)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Moments<double, N> visit(const Loaded<N>& loaded, const Values<double, N, 0>&,
                                      const Group&, I block, I) const {
    const int64_t left = a.shape.outer - block * kGroupsPerBlock;
    const int64_t rows = left < kGroupsPerBlock ? left : kGroupsPerBlock;
    const int64_t groups = a.shape.inner > 1 ? a.shape.inner : rows;
    return {loaded.mean, loaded.m2, static_cast<double>(groups * a.group_size)};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Moments<double, N>& moments, const Values<double, N, 0>&,
                         const Group& group) const {
    Vec<double, N> var;
#pragma unroll
    for (int i = 0; i < N; ++i) var[i] = moments.m2[i] / moments.count;
    store(a.mean + group.at, converted<T>(moments.mean));
    store(a.var + group.at, converted<T>(var));
  }
};

template <typename T>
struct ChannelSumsJob : PlaceIsGroup {
  using Element = T;
  using E = T;
  template <int N>
  struct Loaded {
    Vec<T, N> sum;
    Vec<T, N> product;
    Vec<T, N> gate;
    Vec<T, N> mean;
  };
  template <int N>
  using Sums = cuda::Sums<T, N, 2>;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 1;

  ChannelSumsArguments<T> a;

  int64_t most_rows() const { return kGroupsPerBlock; }
  bool by_planes() const { return a.shape.inner > 1; }
  int64_t largest_tensor() const {
    return largest_of({a.shape.size(), blocks_of(a.shape) * Sums<1>::kArrays * a.shape.channels});
  }
  bool is_aligned() const {
    return are_aligned(a.sums, a.products, a.gate, a.mean, a.block_sums, a.block_products);
  }
  template <int N, typename Group>
  STC_DEVICE Values<T, N, 1> small(const Group& group) const {
    return {{load_cached<N>(a.z_mean + channel_of(group, a.shape.channels))}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    Loaded<N> loaded{};
    loaded.sum = cuda::load<N>(a.sums + at);
    loaded.product = cuda::load<N>(a.products + at);
    if (a.gate == nullptr) return loaded;
    loaded.gate = cuda::load<N>(a.gate + at);
    loaded.mean = cuda::load<N>(a.mean + at);
    return loaded;
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<T, N, 2> visit(const Loaded<N>& loaded, const Values<T, N, 1>& z_mean,
                                   const Group&, I, I) const {
    if (a.gate == nullptr) return {{loaded.sum, loaded.product}};
    const Vec<T, N> distance = loaded.gate * finite_or_zero(loaded.mean) - z_mean[0];
    return {{loaded.sum, loaded.gate * loaded.product + distance * loaded.sum}};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& result, const Values<T, N, 1>&, const Group& group) const {
    const auto channels = static_cast<decltype(group.at)>(a.shape.channels);
    const auto at = block_of(group, channels) * 2 * channels + channel_of(group, channels);
    store(a.block_sums + at, result.sums[0]);
    store(a.block_products + at, result.sums[1]);
  }
};

template <typename T>
struct GateGradientJob : PlaceIsGroup {
  using Element = T;
  using E = T;
  template <int N>
  struct Loaded {
    Vec<T, N> sum;
    Vec<T, N> product;
    Vec<T, N> gate;
    Vec<T, N> mean;
    Vec<T, N> m2;
  };
  template <int N>
  using Sums = NoSums;
  static constexpr bool kHasPlanes = true;
  static constexpr int kRowsAtOnce = 2;
  static constexpr int kSmall = 3;

  GateGradientArguments<T> a;

  bool by_planes() const { return a.shape.inner > 1; }
  int64_t largest_tensor() const { return a.shape.size(); }
  bool is_aligned() const {
    return are_aligned(a.sums, a.products, a.gate, a.mean, a.m2, a.grad_logits);
  }
  template <int N, typename Group>
  STC_DEVICE Values<T, N, kSmall> small(const Group& group) const {
    const auto channel = channel_of(group, a.shape.channels);
    return {{load_cached<N>(a.scale + channel), load_cached<N>(a.slope + channel),
             load_cached<N>(a.offset + channel)}};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Loaded<N> load(const Group&, I, I at) const {
    return {cuda::load<N>(a.sums + at), cuda::load<N>(a.products + at), cuda::load<N>(a.gate + at),
            cuda::load<N>(a.mean + at), a.m2 == nullptr ? Vec<T, N>{} : cuda::load<N>(a.m2 + at)};
  }
  template <int N, typename Group, typename I>
  STC_DEVICE NoSums visit(const Loaded<N>& in, const Values<T, N, kSmall>& values, const Group&, I,
                          I at) const {
    const Vec<T, N>&scale = values[0], &slope = values[1], &offset = values[2];
    const auto elements = static_cast<T>(a.group_size);
    Vec<T, N> grad_gate = scale * (in.product + finite_or_zero(in.mean) * in.sum);
    if (a.m2 != nullptr) {
      const Vec<T, N> of_mean = scale * in.sum + (in.gate * in.mean * slope + offset) * elements;
      grad_gate = scale * in.product + in.gate * slope * in.m2 + in.mean * of_mean;
    }
    store(a.grad_logits + at, grad_gate * in.gate * (repeated<N>(T{1}) - in.gate));
    return {};
  }
};

template <typename T>
struct SumRowsJob : PlaceIsGroup {
  using Element = T;
  using E = double;
  template <int N>
  using Loaded = Vec<T, N>;
  template <int N>
  using Sums = cuda::Sums<double, N>;
  static constexpr bool kHasPlanes = false;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kSmall = 0;

  SumRowsArguments<T> a;

  template <typename Run>
  static void for_each(const SumRowsArguments<T>& a, const Run& run) {
    run(SumRowsJob{{}, a}, View{1, a.rows, a.columns});
  }

  int64_t most_rows() const { return a.rows; }
  int64_t largest_tensor() const { return largest_of({a.rows * a.columns, a.columns}); }
  bool is_aligned() const { return are_aligned(a.terms, a.out); }
  template <int N, typename Group, typename I>
  STC_DEVICE Vec<T, N> load(const Group&, I, I at) const {
    return cuda::load<N>(a.terms + at);
  }
  template <int N, typename Group, typename I>
  STC_DEVICE Values<double, N, 1> visit(const Vec<T, N>& terms, const Values<double, N, 0>&,
                                        const Group&, I, I) const {
    return {{converted<double>(terms)}};
  }
  template <int N, typename Group>
  STC_DEVICE void finish(const Sums<N>& result, const Values<double, N, 0>&,
                         const Group& group) const {
    store(a.out + group.at, converted<T>(result.sums[0]));
  }
};

}  // namespace stc::cuda
