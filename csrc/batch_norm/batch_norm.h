// Batch norm on what is kept per group of elements (a frame, a pixel of a clip): small tensors. The
// contract that all devices fulfil.
#pragma once

#include <cstdint>

#include "common/scalar.h"

namespace stc {

// Values in memory order (outer, channel, inner): inner is 1 where channels are innermost.
struct GroupShape {
  int64_t outer;
  int64_t channels;
  int64_t inner;

  [[gnu::always_inline]] int64_t size() const { return outer * channels * inner; }
};

// Moments of z = gate * y from those of y, gate = sigmoid(logits), or 1 where logits are null, for
// groups of `group_size` elements: mean and m2 of z per channel of each block of groups.
template <typename E>
struct GatedMomentsArguments {
  GroupShape shape;
  int64_t group_size;
  const E* mean;
  const E* m2;
  const E* logits;
  E* gate;
  double* block_mean;
  double* block_m2;
};

// mean and (biased) var per channel of the union of all blocks.
template <typename E>
struct MergedMomentsArguments {
  GroupShape shape;
  int64_t group_size;
  const double* block_mean;
  const double* block_m2;
  E* mean;
  E* var;
};

// With sums of d and of d * (y - centre) per group: sum of d, and of d * (gate * y - z_mean), per
// channel of each block of groups. The centre of a group is `mean` where that is finite, and zero
// elsewhere. Where gate is null, it is z_mean already.
template <typename E>
struct ChannelSumsArguments {
  GroupShape shape;
  const E* sums;
  const E* products;
  const E* gate;
  const E* mean;
  const E* z_mean;
  E* block_sums;
  E* block_products;
};

// The gradient of the logits, for the gradient scale * d + slope * z + offset of z, from sums as
// above. Where m2 is null, slope and offset are zero.
template <typename E>
struct GateGradientArguments {
  GroupShape shape;
  int64_t group_size;
  const E* sums;
  const E* products;
  const E* gate;
  const E* mean;
  const E* m2;
  const E* scale;
  const E* slope;
  const E* offset;
  E* grad_logits;
};

// out[column] = sum over rows of terms[row, column]
template <typename E>
struct SumRowsArguments {
  int64_t rows;
  int64_t columns;
  const E* terms;
  E* out;
};

// What a batch moves, in place: nothing where `mean` and `var` are null, no counter where it is
// null. `unbiased` turns the biased variance of the batch into the unbiased one.
template <typename E>
struct RunningStatistics {
  E* mean;
  E* var;
  int64_t* num_batches_tracked;
  double momentum;
  double unbiased;
};

// weight * (z - mean) * rstd + bias as scale * z + shift, for rstd = 1 / sqrt(var + eps), computed
// in double. Where weight is null it is 1, where bias is null it is 0.
template <typename E>
struct CoefficientsArguments {
  int64_t channels;
  double eps;
  const E* mean;
  const E* var;
  const E* weight;
  const E* bias;
  E* scale;
  E* shift;
  E* mean_out;
  E* rstd;
  RunningStatistics<E> running;
};

// Slope and offset of the gradient scale * d + slope * z + offset of z, computed in double from the
// sums of d and of d * (z - mean) over `count` elements; 0 is the count of constant statistics.
// The gradients of weight and bias too, where they are not null.
template <typename E>
struct GradCoefficientsArguments {
  int64_t channels;
  int64_t count;
  const E* sums;
  const E* products;
  const E* scale;
  const E* mean;
  const E* rstd;
  E* slope;
  E* offset;
  E* grad_weight;
  E* grad_bias;
};

// Groups are taken in blocks: of rows of channels, or all of one outer index.
constexpr int64_t kGroupsPerBlock = 64;
constexpr int64_t kColumnsPerUnit = 64;

[[gnu::always_inline]] inline int64_t blocks_of(const GroupShape& shape) {
  if (shape.inner > 1) return shape.outer;
  return (shape.outer + kGroupsPerBlock - 1) / kGroupsPerBlock;
}

// A unit is a block of rows, or one channel of one outer index.
[[gnu::always_inline]] inline int64_t group_units(const GroupShape& shape) {
  return shape.inner > 1 ? shape.outer * shape.channels : blocks_of(shape);
}

[[gnu::always_inline]] inline int64_t column_units(int64_t columns) {
  return (columns + kColumnsPerUnit - 1) / kColumnsPerUnit;
}

}  // namespace stc
