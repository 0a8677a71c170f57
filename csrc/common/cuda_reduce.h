// What is summed up along the reduced axis, by threads on their own and then together: always in
// the same order, whatever runs first.
#pragma once

#include "common/cuda_vector.h"

namespace stc::cuda {

constexpr int kWarp = 32;

// The sum of what is added.
template <typename E, int N>
struct Sums {
  static constexpr int kArrays = 1;
  template <int M>
  using OfWidth = Sums<E, M>;

  Vec<E, N> sum;

  STC_DEVICE static Sums none() { return {}; }

  STC_DEVICE void add(const Vec<E, N>& values) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += values[i];
  }
  STC_DEVICE void add(const Sums& other) { add(other.sum); }
  STC_DEVICE Sums result() const { return *this; }
  STC_DEVICE Sums<E, 1> lane(int i) const { return {{{sum[i]}}}; }

  STC_DEVICE Sums of_lane_beside(int distance) const {
    Sums other;
#pragma unroll
    for (int i = 0; i < N; ++i) other.sum[i] = __shfl_xor_sync(0xffffffffu, sum[i], distance);
    return other;
  }

  // In `kArrays` arrays, each of `size` elements.
  template <typename I>
  STC_DEVICE void store_to(E* arrays, I, I at) const {
    store(arrays + at, sum);
  }
  template <typename I>
  STC_DEVICE static Sums load_from(const E* arrays, I, I at) {
    return {load<N>(arrays + at)};
  }
  STC_DEVICE void set_count(E) {}
};

// Mean and centred second moment of `count` values. Counts are exact up to 2^24 (2^53 of double).
template <typename E, int N>
struct Moments {
  static constexpr int kArrays = 2;
  template <int M>
  using OfWidth = Moments<E, M>;

  Vec<E, N> mean;
  Vec<E, N> m2;
  E count;

  STC_DEVICE static Moments none() { return {}; }

  // Of the union of both.
  STC_DEVICE void add(const Moments& other) {
    const E total = count + other.count;
    const E share = total > 0 ? other.count / total : 0;
    const E weight = count * share;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const E distance = other.mean[i] - mean[i];
      mean[i] += distance * share;
      m2[i] += other.m2[i] + distance * distance * weight;
    }
    count = total;
  }
  STC_DEVICE Moments result() const { return *this; }
  STC_DEVICE Moments<E, 1> lane(int i) const { return {{{mean[i]}}, {{m2[i]}}, count}; }

  STC_DEVICE Moments of_lane_beside(int distance) const {
    Moments other;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      other.mean[i] = __shfl_xor_sync(0xffffffffu, mean[i], distance);
      other.m2[i] = __shfl_xor_sync(0xffffffffu, m2[i], distance);
    }
    other.count = __shfl_xor_sync(0xffffffffu, count, distance);
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

// Sums around the first value, of deviations from it and of their squares: a large mean costs no
// digits.
template <typename E, int N>
struct PivotSums {
  static constexpr int kArrays = Moments<E, N>::kArrays;

  Vec<E, N> pivot;
  Vec<E, N> sum;
  Vec<E, N> squares;
  E count;

  STC_DEVICE static PivotSums none() { return {}; }

  STC_DEVICE void add(const Vec<E, N>& values) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      pivot[i] = count > 0 ? pivot[i] : values[i];
      const E deviation = values[i] - pivot[i];
      sum[i] += deviation;
      squares[i] += deviation * deviation;
    }
    count += 1;
  }

  STC_DEVICE Moments<E, N> result() const {
    Moments<E, N> moments;
    const E share = count > 0 ? 1 / count : 0;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const E offset = sum[i] * share;
      const E m2 = squares[i] - sum[i] * offset;
      moments.mean[i] = pivot[i] + offset;
      moments.m2[i] = m2 < 0 ? 0 : m2;
    }
    moments.count = count;
    return moments;
  }
};

// Nothing: of kernels that only map.
struct NoSums {
  static constexpr int kArrays = 0;
  STC_DEVICE static NoSums none() { return {}; }
  template <typename Values>
  STC_DEVICE void add(const Values&) {}
};

// The N lanes of a vector as one.
template <typename E, int N, template <typename, int> class Result>
STC_DEVICE Result<E, 1> folded(const Result<E, N>& result) {
  Result<E, 1> total = result.lane(0);
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
