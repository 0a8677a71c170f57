#pragma once

#include "batch_norm/batch_norm.h"
#include "common/cuda_plan.h"

namespace stc::cuda {

constexpr int kCoefficientThreads = 128;

// A thread per channel: work(channel).
template <typename Work>
__global__ void __launch_bounds__(kCoefficientThreads) channel_kernel(Work work) {
  const int64_t channel = int64_t{blockIdx.x} * kCoefficientThreads + threadIdx.x;
  if (channel < work.a.channels) work(channel);
}

template <typename E>
STC_DEVICE double load_double(const E* from) {
  return static_cast<double>(load<1>(from)[0]);
}
template <typename E>
STC_DEVICE void store_double(E* to, double value) {
  store(to, Vec<E, 1>{{static_cast<E>(value)}});
}

template <typename E>
STC_DEVICE void move_running_statistics(const RunningStatistics<E>& running, int64_t channel,
                                        double mean, double var) {
  if (channel == 0 && running.num_batches_tracked != nullptr)
    store(running.num_batches_tracked,
          Vec<int64_t, 1>{{load<1>(running.num_batches_tracked)[0] + 1}});
  if (running.mean == nullptr) return;
  const auto move = [&](E* statistic, double batch) {
    const double kept = (1 - running.momentum) * load_double(statistic);
    store_double(statistic, running.momentum * batch + kept);
  };
  move(running.mean + channel, mean);
  move(running.var + channel, var * running.unbiased);
}

template <typename E>
struct Coefficients {
  CoefficientsArguments<E> a;

  STC_DEVICE void operator()(int64_t channel) const {
    const double mean = load_double(a.mean + channel), var = load_double(a.var + channel);
    const double rstd = 1 / std::sqrt(var + a.eps);
    const double scale = a.weight == nullptr ? rstd : rstd * load_double(a.weight + channel);
    const double bias = a.bias == nullptr ? 0 : load_double(a.bias + channel);
    store_double(a.scale + channel, scale);
    store_double(a.shift + channel, bias - mean * scale);
    store_double(a.mean_out + channel, mean);
    store_double(a.rstd + channel, rstd);
    move_running_statistics(a.running, channel, mean, var);
  }
};

template <typename E>
struct GradCoefficients {
  GradCoefficientsArguments<E> a;

  STC_DEVICE void operator()(int64_t channel) const {
    const double scale = load_double(a.scale + channel), mean = load_double(a.mean + channel);
    const double rstd = load_double(a.rstd + channel);
    const double sum = load_double(a.sums + channel);
    const double product = load_double(a.products + channel);
    const double per_deviation = rstd * rstd * product / static_cast<double>(a.count);
    const double per_element = sum / static_cast<double>(a.count);
    // Constant statistics need not be finite.
    const bool none = a.count == 0 || (sum == 0 && product == 0);
    store_double(a.slope + channel, none ? 0 : -scale * per_deviation);
    store_double(a.offset + channel, none ? 0 : scale * (mean * per_deviation - per_element));
    if (a.grad_weight != nullptr) store_double(a.grad_weight + channel, product * rstd);
    if (a.grad_bias != nullptr) store_double(a.grad_bias + channel, sum);
  }
};

template <template <typename> class Work, template <typename> class Arguments, typename E>
int for_channels(const Arguments<E>& a, void*, void* stream) {
  if (a.channels == 0) return cudaSuccess;
  const dim3 grid = grid_of(ceil_div(a.channels, kCoefficientThreads));
  return launch(channel_kernel<Work<E>>, grid, dim3(kCoefficientThreads), 0,
                static_cast<cudaStream_t>(stream), Work<E>{a});
}

}  // namespace stc::cuda
