// CUDA kernels on the CPU: their source, compiled by the host's compiler, runs with one fiber for
// each CUDA thread. No GPU, driver or nvcc is needed, only CUDA's own headers.
//
//   always           barriers and warp operations that not all threads come to, deadlocks, illegal
//                    launches; shared memory that is read before it is written is NaN
//   AddressSanitizer accesses out of bounds, of global (host) memory and shared arrays
//   UBSanitizer      misaligned vectors, overflow of integers
//   ThreadSanitizer  races between the threads of a block, missing barriers among them, and with
//                    STC_EMULATED_RACES_BETWEEN_BLOCKS=1 between blocks (not those in __shared__
//                    variables, which exist only once: use STC_SHARED)
//
// STC_EMULATED_ORDER chooses the order of the threads (order.h); STC_EMULATED_ABORT=1 aborts at
// what is found (report.h).
//
// What it cannot show: code generation, speed, the order in which blocks see each other's writes,
// more than 48 KB of static shared memory, which nvcc refuses. What it does not know: branches on
// __CUDA_ARCH__, PTX, asynchronous copies, cooperative groups.
#pragma once

#if defined(__CUDACC__)
#error "cuda_on_cpu.h is for the host's compiler"
#endif

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <driver_types.h>
#include <vector_functions.h>

#include "tests/cuda_on_cpu/builtins.h"
#include "tests/cuda_on_cpu/launches.h"
#include "tests/cuda_on_cpu/shared_memory.h"
