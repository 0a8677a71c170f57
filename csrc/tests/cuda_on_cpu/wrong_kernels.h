// Kernels that are wrong, each in the way that its name says.
#pragma once

#include "common/cuda_launch.h"
#include "tests/cuda_on_cpu/right_kernels.h"

namespace {

__global__ void read_shared_memory_before_writing(float* out) {
  STC_SHARED(float, values, kThreads);
  if (threadIdx.x < kHalf) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void wait_in_first_half_of_the_threads(float* out) {
  if (threadIdx.x < kHalf) __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void wait_in_last_half_of_the_threads(float* out) {
  if (threadIdx.x >= kHalf) __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void wait_at_two_barriers(float* out) {
  if (threadIdx.x < kHalf) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 0;
}

__global__ void shuffle_with_lanes_that_never_come(float* out) {
  if (threadIdx.x < 20) out[threadIdx.x] = __shfl_xor_sync(kAllLanes, 1.0f, 1);
}

__global__ void shuffle_with_a_mask_without_oneself(float* out) {
  out[threadIdx.x] = __shfl_xor_sync(kLowLanes, 1.0f, 1);
}

__global__ void shuffle_with_two_masks(float* out) {
  const unsigned mask = threadIdx.x % warpSize == 7 ? 0x00ffffffu : kAllLanes;
  out[threadIdx.x] = __shfl_xor_sync(mask, 1.0f, 1);
}

__global__ void shuffle_from_outside_of_the_mask(float* out) {
  if (threadIdx.x % warpSize < 16) out[threadIdx.x] = __shfl_sync(kLowLanes, 1.0f, 20);
}

__global__ void write_after_shared_array(float* out) {
  STC_SHARED(float, values, kThreads);
  float* element = values + threadIdx.x;
  element[1] = 1;
  __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void write_after_dynamic_shared_array(float* out) {
  STC_DYNAMIC_SHARED(float, values);
  values[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void write_after_plain_shared_array(float* out) {
  __shared__ float values[kThreads];
  float* element = values + threadIdx.x;
  element[1] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void index_after_shared_array(float* out) {
  STC_SHARED(float, values, kThreads);
  values[threadIdx.x + 1] = 1;
  __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void write_after_global_memory(float* out) { out[threadIdx.x + kThreads] = 1; }

__global__ void write_misaligned_vector(float* out) {
  *reinterpret_cast<float4*>(out + 1) = make_float4(1, 2, 3, 4);
}

__global__ void read_without_barrier(float* out) {
  STC_SHARED(float, values, kThreads);
  values[threadIdx.x] = 1;
  out[threadIdx.x] = values[(threadIdx.x + 1) % kThreads];
}

// A shuffle waits for the other lanes, and yet says nothing of what they wrote.
__global__ void read_after_shuffle(float* out) {
  STC_SHARED(float, values, kThreads);
  values[threadIdx.x] = 1;
  __shfl_sync(kAllLanes, 0, 0);
  out[threadIdx.x] = values[threadIdx.x ^ 1];
}

__global__ void write_one_element_in_all_threads(float* out) {
  out[0] = static_cast<float>(threadIdx.x);
}

__global__ void read_what_another_block_writes(float* out) {
  if (threadIdx.x == 0) out[(blockIdx.x + 1) % gridDim.x] = out[blockIdx.x];
}

__global__ void overflow(float* out, int large) {
  out[0] = static_cast<float>(large * static_cast<int>(threadIdx.x + 70000));
}

}  // namespace
