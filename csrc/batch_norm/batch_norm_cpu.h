#pragma once

#include <cmath>

#include "batch_norm/batch_norm.h"
#include "common/affine_lines.h"
#include "common/sigmoid.h"

namespace stc {
namespace {

// Lanes of double, in which the moments of many groups are combined.
constexpr int kDoubles = kLanes<double>;

template <int Lanes, typename E>
inline Vector<double, Lanes> load_doubles(const E* from) {
  return __builtin_convertvector(load<Lanes>(from), Vector<double, Lanes>);
}

template <typename E>
inline void write_gate(const GatedMomentsArguments<E>& a, int64_t first, int64_t size) {
  if (a.logits == nullptr) return;
  for_each_vector<kLanes<E>>(size, [&](auto lanes, int64_t i) {
    store<lanes()>(a.gate + first + i, sigmoid<lanes()>(load<lanes()>(a.logits + first + i)));
  });
}

// Moments of z of one group.
template <int Lanes, typename E>
inline void gated_moments(const GatedMomentsArguments<E>& a, int64_t at,
                          Vector<double, Lanes>& mean, Vector<double, Lanes>& m2) {
  mean = load_doubles<Lanes>(a.mean + at);
  m2 = load_doubles<Lanes>(a.m2 + at);
  if (a.logits == nullptr) return;
  const auto gate = load_doubles<Lanes>(a.gate + at);
  mean *= gate;
  m2 *= gate * gate;
}

// Sum over `count` groups, `pitch` apart, of body(offset).
template <int Lanes, typename Body>
inline Vector<double, Lanes> sum_over_groups(int64_t first, int64_t count, int64_t pitch,
                                             const Body& body) {
  Vector<double, Lanes> sum{};
  for (int64_t group = 0; group < count; ++group) sum += body(first + group * pitch);
  return sum;
}

template <typename E>
inline void gated_moments_of_rows(const GatedMomentsArguments<E>& a, int64_t block) {
  const int64_t channels = a.shape.channels, row = block * kGroupsPerBlock;
  const int64_t left = a.shape.outer - row;
  const int64_t rows = left < kGroupsPerBlock ? left : kGroupsPerBlock;
  write_gate(a, row * channels, rows * channels);
  for_each_vector<kDoubles>(channels, [&](auto lanes, int64_t i) {
    using Doubles = Vector<double, lanes()>;
    Doubles mean, m2;
    const auto sum = sum_over_groups<lanes()>(row * channels + i, rows, channels, [&](int64_t at) {
      gated_moments<lanes()>(a, at, mean, m2);
      return mean;
    });
    const Doubles block_mean = sum / static_cast<double>(rows);
    const auto squares =
        sum_over_groups<lanes()>(row * channels + i, rows, channels, [&](int64_t at) {
          gated_moments<lanes()>(a, at, mean, m2);
          const Doubles deviation = mean - block_mean;
          return m2 + static_cast<double>(a.group_size) * deviation * deviation;
        });
    store<lanes()>(a.block_mean + block * channels + i, block_mean);
    store<lanes()>(a.block_m2 + block * channels + i, squares);
  });
}

// Sum of body(LaneCount, offset) over a line of adjacent groups.
template <typename Body>
inline double sum_along(int64_t first, int64_t size, const Body& body) {
  double sum = 0;
  for_each_vector<kDoubles>(size, [&](auto lanes, int64_t i) {
    sum += sum_of_lanes<lanes(), double>(body(lanes, first + i));
  });
  return sum;
}

template <typename E>
inline void gated_moments_of_line(const GatedMomentsArguments<E>& a, int64_t line) {
  const int64_t first = line * a.shape.inner;
  write_gate(a, first, a.shape.inner);
  const double sum = sum_along(first, a.shape.inner, [&](auto lanes, int64_t at) {
    Vector<double, lanes()> mean, m2;
    gated_moments<lanes()>(a, at, mean, m2);
    return mean;
  });
  const double line_mean = sum / static_cast<double>(a.shape.inner);
  a.block_mean[line] = line_mean;
  a.block_m2[line] = sum_along(first, a.shape.inner, [&](auto lanes, int64_t at) {
    Vector<double, lanes()> mean, m2;
    gated_moments<lanes()>(a, at, mean, m2);
    const Vector<double, lanes()> deviation = mean - line_mean;
    return m2 + static_cast<double>(a.group_size) * deviation * deviation;
  });
}

template <typename E>
void gated_moments_forward(const GatedMomentsArguments<E>& a, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    if (a.shape.inner > 1) {
      gated_moments_of_line(a, unit);
    } else {
      gated_moments_of_rows(a, unit);
    }
  }
}

// Elements of one block, relative to those of a whole one.
inline double weight_of_block(const GroupShape& shape, int64_t block) {
  const int64_t left = shape.outer - block * kGroupsPerBlock;
  if (shape.inner > 1 || left >= kGroupsPerBlock) return 1;
  return static_cast<double>(left) / kGroupsPerBlock;
}

// body(column) for all columns of the units [begin, end).
template <typename Body>
inline void for_each_column(int64_t begin, int64_t end, int64_t columns, const Body& body) {
  const int64_t last = end * kColumnsPerUnit < columns ? end * kColumnsPerUnit : columns;
  for (int64_t column = begin * kColumnsPerUnit; column < last; ++column) body(column);
}

template <typename E>
void merged_moments_forward(const MergedMomentsArguments<E>& a, int64_t begin, int64_t end) {
  const int64_t channels = a.shape.channels, blocks = blocks_of(a.shape);
  const double per_block =
      static_cast<double>(a.group_size * (a.shape.inner > 1 ? a.shape.inner : kGroupsPerBlock));
  double weights = 0;
  for (int64_t block = 0; block < blocks; ++block) weights += weight_of_block(a.shape, block);
  for_each_column(begin, end, channels, [&](int64_t channel) {
    double mean = 0, squares = 0;
    for (int64_t block = 0; block < blocks; ++block)
      mean += weight_of_block(a.shape, block) * a.block_mean[block * channels + channel];
    mean /= weights;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t at = block * channels + channel;
      const double deviation = a.block_mean[at] - mean;
      squares +=
          a.block_m2[at] + per_block * weight_of_block(a.shape, block) * deviation * deviation;
    }
    a.mean[channel] = static_cast<E>(mean);
    a.var[channel] = static_cast<E>(squares / (per_block * weights));
  });
}

// Sums of one group, as those of z.
template <bool kChannelsAlong, int Lanes, typename E>
inline Vector<E, Lanes> centred_product(const ChannelSumsArguments<E>& a, int64_t at,
                                        const E* z_mean) {
  const auto product = load<Lanes>(a.products + at);
  if (a.gate == nullptr) return product;
  const auto gate = load<Lanes>(a.gate + at);
  const auto centre = finite_or_zero(load<Lanes>(a.mean + at));
  const auto distance = gate * centre - value<kChannelsAlong, Lanes>(z_mean, 0);
  return gate * product + distance * load<Lanes>(a.sums + at);
}

template <typename E>
inline void channel_sums_of_rows(const ChannelSumsArguments<E>& a, int64_t block) {
  const int64_t channels = a.shape.channels, row = block * kGroupsPerBlock;
  const int64_t left = a.shape.outer - row;
  const int64_t rows = left < kGroupsPerBlock ? left : kGroupsPerBlock;
  for_each_vector<kLanes<E>>(channels, [&](auto lanes, int64_t i) {
    Vector<E, lanes()> sum{}, product{};
    for (int64_t group = row; group < row + rows; ++group) {
      const int64_t at = group * channels + i;
      sum += load<lanes()>(a.sums + at);
      product += centred_product<true, lanes()>(a, at, a.z_mean + i);
    }
    store<lanes()>(a.block_sums + block * 2 * channels + i, sum);
    store<lanes()>(a.block_products + block * 2 * channels + i, product);
  });
}

template <typename E>
inline void channel_sums_of_line(const ChannelSumsArguments<E>& a, int64_t line) {
  const int64_t channels = a.shape.channels, block = line / channels, channel = line % channels;
  const int64_t at = block * 2 * channels + channel;
  a.block_sums[at] = a.block_products[at] = 0;
  LineSum<false, E> sum(a.block_sums + at), product(a.block_products + at);
  const auto add_terms = [&](auto lanes, int64_t i) {
    const int64_t group = line * a.shape.inner + i;
    sum.template add<lanes()>(i, load<lanes()>(a.sums + group));
    product.template add<lanes()>(i, centred_product<false, lanes()>(a, group, a.z_mean + channel));
  };
  sum_line<false, E>(a.shape.inner, add_terms, sum, product);
}

template <typename E>
void channel_sums_forward(const ChannelSumsArguments<E>& a, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    if (a.shape.inner > 1) {
      channel_sums_of_line(a, unit);
    } else {
      channel_sums_of_rows(a, unit);
    }
  }
}

template <bool kChannelsAlong, typename E>
inline void gate_gradient_of_line(const GateGradientArguments<E>& a, int64_t first, int64_t size,
                                  int64_t channel) {
  const auto elements = static_cast<E>(a.group_size);
  for_each_vector<kLanes<E>>(size, [&](auto lanes, int64_t i) {
    constexpr int kCount = lanes();
    const auto of_channel = [&](const E* values) {
      return value<kChannelsAlong, kCount>(values + channel, i);
    };
    const int64_t at = first + i;
    const auto gate = load<kCount>(a.gate + at), mean = load<kCount>(a.mean + at);
    const auto scale = of_channel(a.scale);
    const auto sum = load<kCount>(a.sums + at), product = load<kCount>(a.products + at);
    auto grad_gate = scale * (product + finite_or_zero(mean) * sum);
    if (a.m2 != nullptr) {
      const auto slope = of_channel(a.slope);
      const auto of_mean = scale * sum + elements * (gate * mean * slope + of_channel(a.offset));
      grad_gate = scale * product + gate * slope * load<kCount>(a.m2 + at) + mean * of_mean;
    }
    store<kCount>(a.grad_logits + at, grad_gate * gate * (1 - gate));
  });
}

template <typename E>
void gate_gradient_forward(const GateGradientArguments<E>& a, int64_t begin, int64_t end) {
  const int64_t channels = a.shape.channels;
  for (int64_t unit = begin; unit < end; ++unit) {
    if (a.shape.inner > 1) {
      gate_gradient_of_line<false>(a, unit * a.shape.inner, a.shape.inner, unit % channels);
      continue;
    }
    const int64_t row = unit * kGroupsPerBlock;
    for (int64_t group = row; group < row + kGroupsPerBlock && group < a.shape.outer; ++group)
      gate_gradient_of_line<true>(a, group * channels, channels, 0);
  }
}

template <typename E>
void sum_rows_forward(const SumRowsArguments<E>& a, int64_t begin, int64_t end) {
  const int64_t first = begin * kColumnsPerUnit;
  const int64_t last = end * kColumnsPerUnit < a.columns ? end * kColumnsPerUnit : a.columns;
  for_each_vector<kDoubles>(last - first, [&](auto lanes, int64_t i) {
    const auto sum = sum_over_groups<lanes()>(first + i, a.rows, a.columns, [&](int64_t at) {
      return load_doubles<lanes()>(a.terms + at);
    });
    store<lanes()>(a.out + first + i, __builtin_convertvector(sum, Vector<E, lanes()>));
  });
}

template <typename E>
void move_running_statistics(const RunningStatistics<E>& running, int64_t channel, double mean,
                             double var) {
  if (channel == 0 && running.num_batches_tracked != nullptr) ++*running.num_batches_tracked;
  if (running.mean == nullptr) return;
  const auto move = [&](E& statistic, double batch) {
    const double kept = (1 - running.momentum) * static_cast<double>(statistic);
    statistic = static_cast<E>(running.momentum * batch + kept);
  };
  move(running.mean[channel], mean);
  move(running.var[channel], var * running.unbiased);
}

template <typename E>
void coefficients_forward(const CoefficientsArguments<E>& a, int64_t begin, int64_t end) {
  for_each_column(begin, end, a.channels, [&](int64_t channel) {
    const double mean = a.mean[channel], var = a.var[channel];
    const double weight = a.weight == nullptr ? 1 : static_cast<double>(a.weight[channel]);
    const double bias = a.bias == nullptr ? 0 : static_cast<double>(a.bias[channel]);
    const double rstd = 1 / std::sqrt(var + a.eps);
    const double scale = rstd * weight;
    a.scale[channel] = static_cast<E>(scale);
    a.shift[channel] = static_cast<E>(bias - mean * scale);
    a.mean_out[channel] = a.mean[channel];
    a.rstd[channel] = static_cast<E>(rstd);
    move_running_statistics(a.running, channel, mean, var);
  });
}

template <typename E>
void grad_coefficients_forward(const GradCoefficientsArguments<E>& a, int64_t begin, int64_t end) {
  for_each_column(begin, end, a.channels, [&](int64_t channel) {
    const double scale = a.scale[channel], mean = a.mean[channel], rstd = a.rstd[channel];
    const double sum = a.sums[channel], product = a.products[channel];
    const double per_deviation = rstd * rstd * product / static_cast<double>(a.count);
    const double per_element = sum / static_cast<double>(a.count);
    // Constant statistics need not be finite.
    const bool none = a.count == 0 || (sum == 0 && product == 0);
    a.slope[channel] = none ? 0 : static_cast<E>(-scale * per_deviation);
    a.offset[channel] = none ? 0 : static_cast<E>(scale * (mean * per_deviation - per_element));
    if (a.grad_weight != nullptr) a.grad_weight[channel] = static_cast<E>(product * rstd);
    if (a.grad_bias != nullptr) a.grad_bias[channel] = a.sums[channel];
  });
}

}  // namespace
}  // namespace stc
