#include "batch_norm/batch_norm_boundary.h"

#include "common/groups.h"
#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

// Means of all blocks, then their second moments.
struct BlockMoments {
  Tensor values;

  BlockMoments(const Tensor& like, const GroupShape& shape)
      : values(empty(like, {2, blocks_of(shape), shape.channels}, ScalarType::Double)) {}

  double* mean() const { return data_of<double>(values); }
  double* m2() const { return mean() + values.size(1) * values.size(2); }
};

// (2, C): mean and biased variance per channel.
template <typename E>
Tensor merge_blocks(const char* name, const GroupShape& shape, int64_t group_size,
                    const Tensor& like, const BlockMoments& blocks) {
  const Tensor moments = empty(like, {2, shape.channels});
  const MergedMomentsArguments<E> arguments{
      shape,       group_size,          blocks.mean(),
      blocks.m2(), data_of<E>(moments), data_of<E>(moments) + shape.channels};
  launch(name, group_kernels<E>().merged_moments, arguments, column_units(shape.channels),
         blocks_of(shape) * shape.channels);
  return moments;
}

}  // namespace

std::tuple<Tensor, Tensor> gated_channel_moments(const Tensor& mean, const Tensor& m2,
                                                 const std::optional<Tensor>& logits,
                                                 int64_t group_size) {
  constexpr const char* kName = "gated_channel_moments";
  const Groups groups(kName, mean);
  const Groups m2_groups(kName, "m2", m2, groups);
  const Tensor gate = logits ? groups.empty_like() : empty(mean, {0});
  const std::optional<Groups> given =
      logits ? std::optional<Groups>(Groups(kName, "logits", *logits, groups)) : std::nullopt;
  const GroupShape& shape = groups.shape();
  STD_TORCH_CHECK(group_size >= 1, kName, ": group_size must be at least 1, got ", group_size);
  // A process without frames, whose moments others will not count.
  if (shape.size() == 0) return {gate, torch::stable::new_zeros(mean, {2, shape.channels})};
  Tensor moments = empty(mean, {0});
  dispatch_dtype(kName, mean.scalar_type(), [&](auto element) {
    using T = decltype(element);
    using E = Accumulate<T>;
    const BlockMoments blocks(mean, shape);
    const GatedMomentsArguments<E> arguments{shape,
                                             group_size,
                                             const_data_of<E>(groups.tensor()),
                                             const_data_of<E>(m2_groups.tensor()),
                                             given ? const_data_of<E>(given->tensor()) : nullptr,
                                             data_of<E>(gate),
                                             blocks.mean(),
                                             blocks.m2()};
    launch(kName, group_kernels<E>().gated_moments, arguments, group_units(shape), shape.size());
    moments = merge_blocks<E>(kName, shape, group_size, mean, blocks);
  });
  return {gate, moments};
}

Tensor gated_channel_sums(const Tensor& sums, const std::optional<Tensor>& gate,
                          const std::optional<Tensor>& mean, const Tensor& coefficients,
                          int64_t first_channel) {
  constexpr const char* kName = "gated_channel_sums";
  const GroupSumsOf groups(kName, sums);
  const GroupShape& shape = groups.shape();
  check_channels(kName, coefficients, 4, first_channel, shape.channels);
  STD_TORCH_CHECK(gate.has_value() == mean.has_value(), kName, ": gate and mean come together");
  std::optional<Groups> gates, means;
  if (gate) {
    gates.emplace(kName, "gate", *gate, groups.one());
    means.emplace(kName, "mean", *mean, groups.one());
  }
  const Tensor blocks = empty(sums, {blocks_of(shape), 2, shape.channels});
  const Tensor out = empty(sums, {2, shape.channels});
  dispatch_sums_dtype(kName, sums.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const int64_t all_channels = coefficients.size(1);
    const ChannelSumsArguments<E> arguments{
        shape,
        groups.sums<E>(),
        groups.products<E>(),
        gates ? const_data_of<E>(gates->tensor()) : nullptr,
        means ? const_data_of<E>(means->tensor()) : nullptr,
        const_data_of<E>(coefficients) + 2 * all_channels + first_channel,
        data_of<E>(blocks),
        data_of<E>(blocks) + shape.channels};
    launch(kName, group_kernels<E>().channel_sums, arguments, group_units(shape), 2 * shape.size());
    sum_rows<E>(kName, blocks_of(shape), blocks, out);
  });
  return out;
}

Tensor gate_gradient(const Tensor& sums, const Tensor& gate, const Tensor& mean,
                     const std::optional<Tensor>& m2, const Tensor& coefficients,
                     const Tensor& grad_coefficients, int64_t first_channel, int64_t group_size) {
  constexpr const char* kName = "gate_gradient";
  const GroupSumsOf groups(kName, sums);
  const GroupShape& shape = groups.shape();
  check_channels(kName, coefficients, 4, first_channel, shape.channels);
  check_channels(kName, grad_coefficients, 2, first_channel, shape.channels);
  const Groups gates(kName, "gate", gate, groups.one()), means(kName, "mean", mean, groups.one());
  std::optional<Groups> second;
  if (m2) second.emplace(kName, "m2", *m2, groups.one());
  const Tensor grad_logits = groups.one().empty_like();
  dispatch_sums_dtype(kName, sums.scalar_type(), [&](auto element) {
    using E = decltype(element);
    const E* gradient = const_data_of<E>(grad_coefficients) + first_channel;
    const GateGradientArguments<E> arguments{shape,
                                             group_size,
                                             groups.sums<E>(),
                                             groups.products<E>(),
                                             const_data_of<E>(gates.tensor()),
                                             const_data_of<E>(means.tensor()),
                                             second ? const_data_of<E>(second->tensor()) : nullptr,
                                             const_data_of<E>(coefficients) + first_channel,
                                             gradient,
                                             gradient + grad_coefficients.size(1),
                                             data_of<E>(grad_logits)};
    launch(kName, group_kernels<E>().gate_gradient, arguments, group_units(shape),
           4 * shape.size());
  });
  return grad_logits;
}

}  // namespace stc

STC_KERNELS(m) {
  m.impl("gated_channel_moments", stc::kBoxed<stc::gated_channel_moments>);
  m.impl("gated_channel_sums", stc::kBoxed<stc::gated_channel_sums>);
  m.impl("gate_gradient", stc::kBoxed<stc::gate_gradient>);
}
