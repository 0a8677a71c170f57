// The words of CUDA C++ that kernels are written with.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tests/cuda_on_cpu/barrier.h"
#include "tests/cuda_on_cpu/warp.h"

// CUDA's headers define some of them, as attributes that a host compiler does not know.
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __noinline__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __shared__ static  // one block runs at a time; only STC_SHARED finds reads before writes
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

namespace stc::emulated {

inline void __syncthreads(Place place = Place::here()) { barrier.wait(place); }

inline void __syncwarp(uint32_t mask = kAllLanes, Place place = Place::here()) {
  warps.meet(WarpOperation::sync, mask, 0, 0, place);
}

// Shuffles are among `width` lanes, a power of two.
inline int lane_of_running() { return threads.running() % kWarpSize; }
inline int segment_of(int lane, int width) { return lane & ~(width - 1); }

template <typename T>
T __shfl_sync(uint32_t mask, T value, int source, int width = kWarpSize,
              Place place = Place::here()) {
  const int first = segment_of(lane_of_running(), width);
  return shuffle(mask, value, first + (source & (width - 1)), true, place);
}

// May read from segments before its own, but not after.
template <typename T>
T __shfl_xor_sync(uint32_t mask, T value, int flips, int width = kWarpSize,
                  Place place = Place::here()) {
  const int lane = lane_of_running();
  const int source = lane ^ flips;
  const bool in_reach = source < kWarpSize && segment_of(source, width) <= segment_of(lane, width);
  return shuffle(mask, value, source, in_reach, place);
}

template <typename T>
T __shfl_down_sync(uint32_t mask, T value, unsigned distance, int width = kWarpSize,
                   Place place = Place::here()) {
  const int lane = lane_of_running();
  const int source = lane + static_cast<int>(distance);
  const bool in_segment = segment_of(source, width) == segment_of(lane, width);
  return shuffle(mask, value, source, in_segment, place);
}

template <typename T>
T __shfl_up_sync(uint32_t mask, T value, unsigned distance, int width = kWarpSize,
                 Place place = Place::here()) {
  const int lane = lane_of_running();
  const int source = lane - static_cast<int>(distance);
  return shuffle(mask, value, source, source >= segment_of(lane, width), place);
}

inline uint32_t __ballot_sync(uint32_t mask, bool predicate, Place place = Place::here()) {
  return static_cast<uint32_t>(warps.meet(WarpOperation::ballot, mask, predicate, 0, place));
}

inline int __all_sync(uint32_t mask, bool predicate, Place place = Place::here()) {
  return warps.meet(WarpOperation::all, mask, predicate, 0, place) != 0;
}

inline int __any_sync(uint32_t mask, bool predicate, Place place = Place::here()) {
  return warps.meet(WarpOperation::any, mask, predicate, 0, place) != 0;
}

// The second type is not deduced, so that atomicAdd(float*, 1) is what it is in CUDA.
template <typename T>
struct Same {
  using Type = T;
};

template <typename T>
T atomicAdd(T* target, typename Same<T>::Type value) {
  if constexpr (std::is_integral_v<T>) {
    return __atomic_fetch_add(target, value, __ATOMIC_RELAXED);
  } else {
    T before;
    T after;
    __atomic_load(target, &before, __ATOMIC_RELAXED);
    do after = before + value;
    while (!__atomic_compare_exchange(target, &before, &after, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED));
    return before;
  }
}

}  // namespace stc::emulated

using stc::emulated::__all_sync;
using stc::emulated::__any_sync;
using stc::emulated::__ballot_sync;
using stc::emulated::__shfl_down_sync;
using stc::emulated::__shfl_sync;
using stc::emulated::__shfl_up_sync;
using stc::emulated::__shfl_xor_sync;
using stc::emulated::__syncthreads;
using stc::emulated::__syncwarp;
using stc::emulated::atomicAdd;

template <typename T>
T __ldg(const T* source) {
  return *source;
}

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// As precise as the host is: the device's own errors are not emulated. glibc declares __expf too.
inline float __expf(float x) noexcept { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits != 0 ? __builtin_clz(static_cast<unsigned>(bits)) : 32; }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

using std::max;
using std::min;
