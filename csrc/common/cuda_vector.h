// Vectors of elements in the memory of a CUDA device: the only way that kernels touch it. In the
// build that runs kernels on the CPU, what is read and written is counted.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/cuda_launch.h"
#include "common/scalar.h"

#if !defined(__CUDACC__)
#include <atomic>
#endif

#define STC_DEVICE __device__ __forceinline__

namespace stc {

#if !defined(__CUDACC__)
struct EmulatedTraffic {
  std::atomic<int64_t> read{0};
  std::atomic<int64_t> written{0};
};

inline EmulatedTraffic& emulated_traffic() {
  static EmulatedTraffic traffic;
  return traffic;
}
#endif

namespace cuda {

// 16 bytes at once: nvcc takes vectors of small elements apart.
#if defined(__CUDACC__)
STC_DEVICE uint4 load_raw(const uint4* from) { return *from; }
STC_DEVICE void store_raw(uint4* to, const uint4& raw) { __stwb(to, raw); }
STC_DEVICE void count_read(int64_t) {}
STC_DEVICE void count_written(int64_t) {}
#else
inline uint4 load_raw(const uint4* from) {
  uint4 raw;
  std::memcpy(&raw, from, sizeof(raw));
  return raw;
}
inline void store_raw(uint4* to, const uint4& raw) { std::memcpy(to, &raw, sizeof(raw)); }
inline void count_read(int64_t bytes) {
  emulated_traffic().read.fetch_add(bytes, std::memory_order_relaxed);
}
inline void count_written(int64_t bytes) {
  emulated_traffic().written.fetch_add(bytes, std::memory_order_relaxed);
}
#endif

// Bytes of the widest load and store.
constexpr int kVectorBytes = 16;

// Elements that are loaded at once.
template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T, int N>
struct alignas(sizeof(T) * N < kVectorBytes ? sizeof(T) * N : kVectorBytes) Vec {
  T v[N];

  STC_DEVICE T& operator[](int i) { return v[i]; }
  STC_DEVICE const T& operator[](int i) const { return v[i]; }
};

// K vectors: what K small tensors, or sums, have for N columns.
template <typename E, int N, int K>
struct Values {
  Vec<E, N> v[K];

  STC_DEVICE Vec<E, N>& operator[](int k) { return v[k]; }
  STC_DEVICE const Vec<E, N>& operator[](int k) const { return v[k]; }
};

template <typename E, int N>
struct Values<E, N, 0> {};

template <typename... Pointers>
bool are_aligned(Pointers... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % kVectorBytes == 0) && ...);
}

template <int N, typename T>
STC_DEVICE Vec<T, N> load(const T* from) {
  count_read(sizeof(Vec<T, N>));
  if constexpr (sizeof(Vec<T, N>) == kVectorBytes) {
    const uint4 raw = load_raw(reinterpret_cast<const uint4*>(from));
    Vec<T, N> values;
    memcpy(&values, &raw, kVectorBytes);
    return values;
  } else {
    return *reinterpret_cast<const Vec<T, N>*>(from);
  }
}

// Of values so few that all blocks find them in a cache: they do not count.
template <int N, typename T>
STC_DEVICE Vec<T, N> load_cached(const T* from) {
  Vec<T, N> elements;
#pragma unroll
  for (int i = 0; i < N; ++i) elements[i] = from[i];
  return elements;
}

template <int N, typename T>
STC_DEVICE void store(T* to, const Vec<T, N>& values) {
  count_written(sizeof(Vec<T, N>));
  if constexpr (sizeof(Vec<T, N>) % kVectorBytes == 0) {
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(Vec<T, N>)) / kVectorBytes; ++i) {
      uint4 raw;
      memcpy(&raw, reinterpret_cast<const char*>(&values) + i * kVectorBytes, kVectorBytes);
      store_raw(reinterpret_cast<uint4*>(to) + i, raw);
    }
  } else {
    *reinterpret_cast<Vec<T, N>*>(to) = values;
  }
}

// Where vectors of one tensor are aligned, those of another need not be.
template <int N, typename T>
STC_DEVICE Vec<T, N> load_if(bool is_aligned, const T* from) {
  if (is_aligned) return load<N>(from);
  Vec<T, N> elements;
#pragma unroll
  for (int i = 0; i < N; ++i) elements[i] = load<1>(from + i)[0];
  return elements;
}

template <int N, typename T>
STC_DEVICE void store_if(bool is_aligned, T* to, const Vec<T, N>& elements) {
  if (is_aligned) return store(to, elements);
#pragma unroll
  for (int i = 0; i < N; ++i) store(to + i, Vec<T, 1>{{elements[i]}});
}

STC_DEVICE float widened(float element) { return element; }
STC_DEVICE double widened(double element) { return element; }
STC_DEVICE float widened(Half element) {
  __half_raw raw;
  raw.x = element.bits;
  return __half2float(raw);
}
STC_DEVICE float widened(BFloat16 element) {
  __nv_bfloat16_raw raw;
  raw.x = element.bits;
  return __bfloat162float(raw);
}

STC_DEVICE void narrow(float value, float& to) { to = value; }
STC_DEVICE void narrow(double value, double& to) { to = value; }
STC_DEVICE void narrow(float value, Half& to) {
  to.bits = static_cast<__half_raw>(__float2half_rn(value)).x;
}
STC_DEVICE void narrow(float value, BFloat16& to) {
  to.bits = static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(value)).x;
}

template <typename T, int N>
STC_DEVICE Vec<Accumulate<T>, N> widened(const Vec<T, N>& elements) {
  Vec<Accumulate<T>, N> values;
  // Two at a time, where they lie: taken apart, they would fill twice the registers.
  if constexpr (std::is_same_v<T, BFloat16> && N % 2 == 0) {
    uint32_t pairs[N / 2];
    memcpy(pairs, &elements, sizeof(pairs));
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const uint32_t halves[2] = {pairs[i] << 16, pairs[i] & 0xffff0000u};
      memcpy(&values[2 * i], halves, sizeof(halves));
    }
    return values;
  }
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = widened(elements[i]);
  return values;
}

template <typename T, typename E, int N>
STC_DEVICE Vec<T, N> narrowed(const Vec<E, N>& values) {
  Vec<T, N> elements;
#pragma unroll
  for (int i = 0; i < N; ++i) narrow(values[i], elements[i]);
  return elements;
}

template <typename E, typename T, int N>
STC_DEVICE Vec<E, N> converted(const Vec<T, N>& values) {
  Vec<E, N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = static_cast<E>(values[i]);
  return result;
}

template <int N, typename E>
STC_DEVICE Vec<E, N> repeated(E value) {
  Vec<E, N> values;
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = value;
  return values;
}

template <int N, typename E, int K>
STC_DEVICE Values<E, N, K> repeated(const Values<E, 1, K>& values) {
  Values<E, N, K> result;
#pragma unroll
  for (int k = 0; k < K; ++k) result[k] = repeated<N>(values[k][0]);
  return result;
}

template <int N, typename E>
STC_DEVICE Values<E, N, 0> repeated(const Values<E, 1, 0>&) {
  return {};
}

template <typename E, int N>
STC_DEVICE Vec<E, N> operator*(const Vec<E, N>& a, const Vec<E, N>& b) {
  Vec<E, N> product;
#pragma unroll
  for (int i = 0; i < N; ++i) product[i] = a[i] * b[i];
  return product;
}

template <typename E, int N>
STC_DEVICE Vec<E, N> operator+(const Vec<E, N>& a, const Vec<E, N>& b) {
  Vec<E, N> sum;
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = a[i] + b[i];
  return sum;
}

template <typename E, int N>
STC_DEVICE Vec<E, N> operator-(const Vec<E, N>& a, const Vec<E, N>& b) {
  Vec<E, N> difference;
#pragma unroll
  for (int i = 0; i < N; ++i) difference[i] = a[i] - b[i];
  return difference;
}

template <typename E, int N>
STC_DEVICE Vec<E, N> operator*(const Vec<E, N>& a, E factor) {
  Vec<E, N> product;
#pragma unroll
  for (int i = 0; i < N; ++i) product[i] = a[i] * factor;
  return product;
}

}  // namespace cuda
}  // namespace stc
