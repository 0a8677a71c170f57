// Kernels that are right, one for each thing that the emulator does.
#pragma once

#include "common/cuda_launch.h"

namespace {

constexpr int kThreads = 64;
constexpr int kHalf = kThreads / 2;
constexpr int kBlocks = 2;
constexpr unsigned kLowLanes = 0x0000ffffu;
constexpr unsigned kHighLanes = 0xffff0000u;
constexpr unsigned kAllLanes = 0xffffffffu;

__global__ void reverse(float* out) {
  STC_SHARED(float, values, kThreads);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = values[kThreads - 1 - threadIdx.x];
}

__device__ __forceinline__ float sum_of_warp(float value) {
#pragma unroll
  for (int distance = warpSize / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

// Twice in a row, so that the second may not begin before all have read the first.
__global__ void sum_twice(float* out) {
  STC_DYNAMIC_SHARED(__half, halves);
  STC_SHARED(float, sums, 2);
  halves[threadIdx.x] = __float2half_rn(static_cast<float>(threadIdx.x));
  float value = __half2float(halves[threadIdx.x]);
  for (int pass = 0; pass < 2; ++pass) {
    const float sum = sum_of_warp(value);
    if (threadIdx.x % warpSize == 0) sums[threadIdx.x / warpSize] = sum;
    __syncthreads();
    value = sums[0] + sums[1];
    __syncthreads();
  }
  out[threadIdx.x] = value;
}

__global__ void exchange_in_half_warps(float* out) {
  float value = static_cast<float>(threadIdx.x);
  if (threadIdx.x % warpSize < 16)
    value = __shfl_xor_sync(kLowLanes, value, 1);
  else
    value = __shfl_xor_sync(kHighLanes, value, 1);
  out[threadIdx.x] = value;
}

__global__ void shuffle_down_in_eights(float* out) {
  out[threadIdx.x] = __shfl_down_sync(kAllLanes, static_cast<float>(threadIdx.x), 3, 8);
}

__global__ void shuffle_up_and_broadcast(float* out) {
  const float above = __shfl_up_sync(kAllLanes, static_cast<float>(threadIdx.x), 1);
  out[threadIdx.x] = above + 100 * __shfl_sync(kAllLanes, above, 5);
}

__global__ void vote(float* out) {
  const unsigned odd = __ballot_sync(kAllLanes, threadIdx.x % 2 == 1);
  const bool some = __any_sync(kAllLanes, threadIdx.x == 3) != 0;
  const bool all = __all_sync(kAllLanes, threadIdx.x >= 32) != 0;
  out[threadIdx.x] = static_cast<float>(__popc(odd) + 100 * some + 1000 * all);
}

// Lanes of a warp write, meet, and read what their neighbours wrote.
__global__ void exchange_after_syncwarp(float* out) {
  STC_SHARED(float, values, kThreads);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1];
}

// The order in which the emulator runs threads. No kernel may depend on it.
__global__ void number_threads(float* out) {
  static int num_before;
  out[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<float>(atomicAdd(&num_before, 1));
}

__global__ void add_atomically(float* out) { atomicAdd(&out[0], 1.0f); }

__global__ void write_vectors(float* out) {
  if (threadIdx.x < kThreads / 4)
    reinterpret_cast<float4*>(out)[threadIdx.x] = make_float4(0, 1, 2, 3);
}

// Each block of 16 threads has elements of its own.
__global__ void reverse_blocks(float* out) {
  STC_SHARED(float, values, 16);
  values[threadIdx.x] = static_cast<float>(threadIdx.x);
  __syncthreads();
  out[16 * blockIdx.x + threadIdx.x] = values[15 - threadIdx.x];
}

}  // namespace
