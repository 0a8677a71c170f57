// stc_emulator_tests <case>: launches a kernel that is right, or wrong in one way, on the emulator,
// and compares the error, the report and the results with what is expected of that case.
//
// Some kernels are wrong in ways that only a sanitizer sees. CTest runs those in builds with that
// sanitizer, and looks for its report (CMakeLists.txt).
#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <thread>
#include <vector>

#include "common/cuda_launch.h"
#include "tests/cuda_on_cpu/right_kernels.h"
#include "tests/cuda_on_cpu/wrong_kernels.h"

namespace {

// ---- Launches. Each has kThreads elements.

template <void (*kernel)(float*), int num_threads = kThreads, int num_blocks = kBlocks>
cudaError_t launch(float* out) {
  return stc::launch(kernel, dim3(num_blocks), dim3(num_threads), kThreads * sizeof(float), nullptr,
                     out);
}

cudaError_t launch_overflow(float* out) {
  return stc::launch(overflow, dim3(1), dim3(kThreads), 0, nullptr, out, 1000000);
}

cudaError_t launch_too_many_blocks(float* out) {
  return stc::launch(reverse, dim3(1, 70000), dim3(kThreads), 0, nullptr, out);
}

cudaError_t launch_too_much_shared_memory(float* out) {
  return stc::launch(reverse, dim3(1), dim3(kThreads), 228 * 1024, nullptr, out);
}

// Fibers that one thread of the operating system made are used by the others.
cudaError_t launch_in_several_threads(float* out) {
  std::vector<std::thread> launchers;
  for (int i = 0; i < kThreads / 16; ++i)
    launchers.emplace_back([=] {
      for (int repeats = 0; repeats < 10; ++repeats) {
        std::vector<float> twice(kThreads);
        launch<sum_twice>(twice.data());
        const bool right = twice == std::vector<float>(kThreads, 64 * 2016);
        if (right) launch<reverse_blocks, 16, 1>(out + 16 * i);
      }
    });
  for (std::thread& launcher : launchers) launcher.join();
  return cudaSuccess;
}

cudaError_t launch_after_a_failure(float* out) {
  const cudaError_t error = launch<shuffle_with_lanes_that_never_come>(out);
  return error == cudaErrorLaunchFailure ? launch<reverse>(out) : cudaErrorUnknown;
}

// Aborting is what is right here: the process then ends as a success.
cudaError_t launch_with_abort(float* out) {
  setenv("STC_EMULATED_ABORT", "1", 1);
  std::signal(SIGABRT, [](int) { std::_Exit(0); });
  launch<wait_at_two_barriers>(out);
  return cudaErrorUnknown;
}

// ---- What is expected.

struct Case {
  const char* name;
  cudaError_t (*launch)(float* out);
  float (*expected)(int i);  // element i of the result; none where it is not looked at
  cudaError_t error = cudaSuccess;
  const char* report = "";  // a part of it
};

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr cudaError_t kFailure = cudaErrorLaunchFailure;
constexpr cudaError_t kInvalid = cudaErrorInvalidConfiguration;

float index(int i) { return static_cast<float>(i); }
float reversed(int i) { return static_cast<float>(kThreads - 1 - i); }
float sum_of_sums(int) { return 64 * 2016; }
float neighbour(int i) { return static_cast<float>(i ^ 1); }
float three_further_in_eights(int i) { return static_cast<float>(i % 8 < 5 ? i + 3 : i); }
float above_and_fifth(int i) {
  const int first = i / warpSize * warpSize;
  return static_cast<float>(std::max(i - 1, first) + 100 * (first + 4));
}
float votes(int i) { return i < warpSize ? 16 + 100 : 16 + 1000; }
float number_of_additions(int i) { return i == 0 ? kThreads * kBlocks : 0; }
float index_in_vector(int i) { return static_cast<float>(i % 4); }
float count_down(int i) { return static_cast<float>(15 - i % 16); }
float first_half_written(int i) { return i < kHalf ? 1 : kNaN; }
// Forward, the last thread alone comes after the one whose element it reads.
float last_written(int i) { return i == kThreads - 1 ? 1 : kNaN; }

const Case kCases[] = {
    {"shared_memory", launch<reverse>, reversed},
    {"reductions", launch<sum_twice>, sum_of_sums},
    {"masks_of_half_warps", launch<exchange_in_half_warps>, neighbour},
    {"shuffle_down_in_segments", launch<shuffle_down_in_eights>, three_further_in_eights},
    {"shuffle_up", launch<shuffle_up_and_broadcast>, above_and_fifth},
    {"votes", launch<vote>, votes},
    {"syncwarp", launch<exchange_after_syncwarp>, neighbour},
    {"atomics", launch<add_atomically>, number_of_additions},
    {"vectors", launch<write_vectors, kThreads, 1>, index_in_vector},
    {"blocks", launch<reverse_blocks, 16, kThreads / 16>, count_down},
    {"forward_order", launch<number_threads, 16, kThreads / 16>, index},
    {"reverse_order", launch<number_threads, 16, kThreads / 16>, reversed},
    {"launches_from_several_threads", launch_in_several_threads, count_down},
    {"launch_after_a_failure", launch_after_a_failure, reversed},
    {"abort", launch_with_abort, nullptr},

    {"uninitialised_shared_memory", launch<read_shared_memory_before_writing>, first_half_written},
    {"missing_barrier", launch<read_without_barrier>, last_written},
    {"exit_before_a_barrier", launch<wait_in_last_half_of_the_threads>, nullptr, kFailure,
     "32 threads exited before __syncthreads"},
    {"exit_while_others_wait", launch<wait_in_first_half_of_the_threads>, nullptr, kFailure,
     "thread 63 exits while 32 threads wait at __syncthreads"},
    {"divergent_barrier", launch<wait_at_two_barriers>, nullptr, kFailure, "divergent barrier"},
    {"missing_lanes", launch<shuffle_with_lanes_that_never_come>, nullptr, kFailure,
     "deadlock: 20 of 64 threads never finish"},
    {"mask_without_own_lane", launch<shuffle_with_a_mask_without_oneself>, nullptr, kFailure,
     "lane 16 is not in its own mask 0000ffff"},
    {"different_masks", launch<shuffle_with_two_masks>, nullptr, kFailure,
     "warp operation mismatch: lane 7 with mask 00ffffff"},
    {"shuffle_from_outside_of_the_mask", launch<shuffle_from_outside_of_the_mask>, nullptr,
     kFailure, "shuffles from lane 20 outside of mask 0000ffff"},
    {"too_many_threads", launch<reverse, 2048>, nullptr, kInvalid},
    {"too_many_blocks", launch_too_many_blocks, nullptr, kInvalid},
    {"too_much_shared_memory", launch_too_much_shared_memory, nullptr, kInvalid},

    // Seen by sanitizers alone.
    {"shared_array_overrun", launch<write_after_shared_array>, nullptr},
    {"dynamic_shared_array_overrun", launch<write_after_dynamic_shared_array>, nullptr},
    {"plain_shared_array_overrun", launch<write_after_plain_shared_array>, nullptr},
    {"shared_array_index", launch<index_after_shared_array>, nullptr},
    {"global_memory_overrun", launch<write_after_global_memory>, nullptr},
    {"misaligned_vector", launch<write_misaligned_vector>, nullptr},
    {"integer_overflow", launch_overflow, nullptr},
    {"race_in_shared_memory", launch<read_without_barrier>, nullptr},
    {"race_across_a_shuffle", launch<read_after_shuffle>, nullptr},
    {"race_in_global_memory", launch<write_one_element_in_all_threads>, nullptr},
    {"race_between_blocks", launch<read_what_another_block_writes, kThreads, 8>, nullptr},
};

bool same(float a, float b) { return a == b || (std::isnan(a) && std::isnan(b)); }

bool run(const Case& c) {
  std::vector<float> out(kThreads, 0.0f);
  const cudaError_t error = c.launch(out.data());
  const char* report = stc::emulated::failure.text;
  std::cout << c.name << ": error " << error << " (expected " << c.error << "), report '" << report
            << "' (expected '" << c.report << "')\n";
  bool right = error == c.error && std::strstr(report, c.report) != nullptr &&
               (*c.report != '\0' || *report == '\0');
  for (int i = 0; c.expected != nullptr && i < kThreads; ++i) {
    if (same(out[static_cast<size_t>(i)], c.expected(i))) continue;
    std::cout << "element " << i << " is " << out[static_cast<size_t>(i)] << ", expected "
              << c.expected(i) << '\n';
    right = false;
  }
  return right;
}

}  // namespace

int main(int argc, char** argv) {
  for (const Case& c : kCases)
    if (argc == 2 && std::strcmp(argv[1], c.name) == 0) return run(c) ? 0 : 1;
  std::cerr << "usage: " << argv[0] << " <case>, one of";
  for (const Case& c : kCases) std::cerr << ' ' << c.name;
  std::cerr << '\n';
  return 2;
}
