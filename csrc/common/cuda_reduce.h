// What is summed up along the reduced axis, by threads on their own and then together: always in
// the same order, whatever runs first.
#pragma once

#include <cmath>

#include "common/cuda_vector.h"

namespace stc::cuda {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

// K sums of what is added.
template <typename E, int N, int K = 1>
struct Sums {
  static constexpr int kArrays = K;

  Values<E, N, K> sums;

  STC_DEVICE static Sums none() { return {}; }

  STC_DEVICE void add(const Values<E, N, K>& values) {
#pragma unroll
    for (int k = 0; k < K; ++k) sums[k] = sums[k] + values[k];
  }
  STC_DEVICE void add(const Sums& other) { add(other.sums); }
  // Terms that are taken together are summed up by themselves first: shorter sums round less.
  STC_DEVICE Sums begin_step() { return none(); }
  STC_DEVICE void end_step(const Sums& step) { add(step); }
  STC_DEVICE Sums result() const { return *this; }
  STC_DEVICE Sums<E, 1, K> lane(int i) const {
    Sums<E, 1, K> one;
#pragma unroll
    for (int k = 0; k < K; ++k) one.sums[k][0] = sums[k][i];
    return one;
  }

  STC_DEVICE Sums of_lane_beside(int distance) const {
    Sums other;
#pragma unroll
    for (int k = 0; k < K; ++k) {
#pragma unroll
      for (int i = 0; i < N; ++i)
        other.sums[k][i] = __shfl_xor_sync(kWholeWarp, sums[k][i], distance);
    }
    return other;
  }

  // In `kArrays` arrays, each of `size` elements.
  template <typename I>
  STC_DEVICE void store_to(E* arrays, I size, I at) const {
#pragma unroll
    for (int k = 0; k < K; ++k) store(arrays + (k * size + at), sums[k]);
  }
  template <typename I>
  STC_DEVICE static Sums load_from(const E* arrays, I size, I at) {
    Sums stored;
#pragma unroll
    for (int k = 0; k < K; ++k) stored.sums[k] = load<N>(arrays + (k * size + at));
    return stored;
  }
  STC_DEVICE void set_count(E) {}
};

// Mean and centred second moment of `count` values. Counts are exact up to 2^24 (2^53 of double).
template <typename E, int N>
struct Moments {
  static constexpr int kArrays = 2;
  Vec<E, N> mean;
  Vec<E, N> m2;
  E count;

  STC_DEVICE static Moments none() { return {}; }

  // Means of infinities are infinite, as sums are, or NaN.
  STC_DEVICE static E moved(E from, E towards, E by) {
    return std::isfinite(by) ? from + by : from + towards;
  }

  STC_DEVICE void add(const Vec<E, N>& values) {
    count += 1;
    const E share = 1 / count;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const E deviation = values[i] - mean[i];
      mean[i] = moved(mean[i], values[i], deviation * share);
      m2[i] += deviation * (values[i] - mean[i]);
    }
  }
  // Of the union of both.
  STC_DEVICE void add(const Moments& other) {
    const E total = count + other.count;
    const E share = total > 0 ? other.count / total : 0;
    const E weight = count * share;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const E distance = other.mean[i] - mean[i];
      mean[i] = moved(mean[i], other.mean[i], distance * share);
      m2[i] += other.m2[i] + distance * distance * weight;
    }
    count = total;
  }
  STC_DEVICE Moments& begin_step() { return *this; }
  STC_DEVICE void end_step(const Moments&) {}
  STC_DEVICE Moments result() const { return *this; }
  STC_DEVICE Moments<E, 1> lane(int i) const { return {{{mean[i]}}, {{m2[i]}}, count}; }

  STC_DEVICE Moments of_lane_beside(int distance) const {
    Moments other;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      other.mean[i] = __shfl_xor_sync(kWholeWarp, mean[i], distance);
      other.m2[i] = __shfl_xor_sync(kWholeWarp, m2[i], distance);
    }
    other.count = __shfl_xor_sync(kWholeWarp, count, distance);
    return other;
  }

  template <typename I>
  STC_DEVICE void store_to(E* arrays, I size, I at) const {
    store(arrays + at, mean);
    store(arrays + size + at, m2);
  }
  template <typename I>
  STC_DEVICE static Moments load_from(const E* arrays, I size, I at) {
    return {load<N>(arrays + at), load<N>(arrays + size + at), 0};
  }
  STC_DEVICE void set_count(E number) { count = number; }
};

// Nothing: of kernels that only map.
struct NoSums {
  static constexpr int kArrays = 0;
  STC_DEVICE static NoSums none() { return {}; }
  template <typename Anything>
  STC_DEVICE void add(const Anything&) {}
  STC_DEVICE NoSums& begin_step() { return *this; }
  STC_DEVICE void end_step(const NoSums&) {}
};

// The N lanes of a vector as one.
template <int N, typename Result>
STC_DEVICE auto folded(const Result& result) {
  auto total = result.lane(0);
#pragma unroll
  for (int i = 1; i < N; ++i) total.add(result.lane(i));
  return total;
}

// Of lanes at distances of furthest, furthest / 2, ... nearest. Takes the whole warp.
template <typename Result>
STC_DEVICE Result sum_of_warp(Result mine, int furthest, int nearest) {
  for (int distance = furthest; distance >= nearest; distance /= 2)
    mine.add(mine.of_lane_beside(distance));
  return mine;
}

// Of all warps, lane by lane of the first `lanes`: valid in the first warp. Takes the whole block,
// and only once.
template <int kMostWarps, typename Result>
STC_DEVICE Result sum_of_warps(Result mine, int lanes) {
  STC_SHARED(Result, parts, kMostWarps * kWarp);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (lane < lanes) parts[warp * lanes + lane] = mine;
  __syncthreads();
  if (warp == 0 && lane < lanes) {
    const int warps = blockDim.x / kWarp;
    for (int other = 1; other < warps; ++other) mine.add(parts[other * lanes + lane]);
  }
  return mine;
}

}  // namespace stc::cuda
