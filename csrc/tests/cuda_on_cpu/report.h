// What a kernel does wrong is printed, and the launch then returns an error. With
// STC_EMULATED_ABORT=1 it aborts instead, for a debugger.
#pragma once

#include <driver_types.h>
#include <vector_types.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_on_cpu/sanitizers.h"

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

inline const char* cudaGetErrorString(cudaError_t) { return "the emulator has printed why"; }

namespace stc::emulated {

constexpr int kWarpSize = 32;

// A place in a kernel's source. As a default argument, Place::here() is where the call is.
struct Place {
  const char* file;
  int line;

  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

STC_UNSANITIZED inline bool same_place(Place a, Place b) {
  return a.line == b.line && std::strcmp(a.file, b.file) == 0;
}

// The first thing found wrong in the launch under way, or in the last one.
struct Failure {
  cudaError_t error;
  char text[256];
  int num_reports;
};
inline Failure failure;

STC_UNSANITIZED inline void clear_failure() {
  failure.error = cudaSuccess;
  failure.text[0] = '\0';
  failure.num_reports = 0;
}

[[gnu::format(printf, 1, 2)]] STC_UNSANITIZED inline void report(const char* format, ...) {
  char text[sizeof(failure.text)];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  // The first few: a thousand threads may have the same to say.
  if (failure.num_reports++ < 8)
    std::fprintf(stderr, "emulated block (%u,%u,%u): %s\n", blockIdx.x, blockIdx.y, blockIdx.z,
                 text);
  if (failure.error == cudaSuccess) {
    failure.error = cudaErrorLaunchFailure;
    std::memcpy(failure.text, text, sizeof(text));
  }
  if (std::getenv("STC_EMULATED_ABORT")) std::abort();
}

}  // namespace stc::emulated

// No constant: nvcc does not take it as one either.
inline int warpSize = stc::emulated::kWarpSize;
