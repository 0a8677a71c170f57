#include <tuple>

#include "batch_norm/batch_norm_boundary.h"
#include "batch_norm/normalization.h"
#include "common/aten.h"
#include "common/launch.h"
#include "common/registration.h"
#include "moments/moments_boundary.h"
#include "refine/gate_network.h"
#include "refine/refine_boundary.h"

namespace stc {
namespace {

// What is kept for the groups of a branch with a gate: frames of spatial_y, pixels of a clip of
// temporal_y. All are empty without a gate, the hidden features without `reduce`, the second
// moment where statistics are constants.
struct GroupsOfBranch {
  Tensor mean;
  Tensor m2;
  Tensor gate;
  Tensor hidden;
};

// One of the two branches.
struct Branch {
  const OptionalTensor& y;
  GateNetwork network;
  bool per_pixel;

  bool has_gate() const { return network.gate.has_value(); }
  int64_t channels() const { return y ? y->size(1) : 0; }
  int64_t group_size(int64_t num_segments) const {
    return per_pixel ? num_segments : y->size(2) * y->size(3);
  }
};

OptionalTensor given_if(bool condition, const Tensor& tensor) {
  return condition ? OptionalTensor(tensor) : std::nullopt;
}

Tensor empty_groups(const Tensor& like) {
  return empty(like, {0}, accumulate_dtype(like.scalar_type()));
}

Tensor beside(const OptionalTensor& first, const OptionalTensor& second) {
  if (!first) return *second;
  if (!second) return *first;
  return as_tensor(call_aten("aten::cat", "", std::vector<Tensor>{*first, *second}, int64_t{1})[0]);
}

// The groups of a branch, and the (2, C) moments of its gated frames.
std::tuple<GroupsOfBranch, OptionalTensor> groups_of_batch(const Branch& branch,
                                                           int64_t num_segments) {
  const Tensor& y = *branch.y;
  const auto [mean, m2] = branch.per_pixel ? temporal_moments(y, num_segments) : spatial_moments(y);
  const int64_t group_size = branch.group_size(num_segments);
  if (!branch.has_gate()) {
    const auto [none, moments] = gated_channel_moments(mean, m2, std::nullopt, group_size);
    return {{none, empty_groups(y), empty_groups(y), empty_groups(y)}, moments};
  }
  const GatePass pass = run_gate_network(branch.network, mean);
  const auto [gate, moments] = gated_channel_moments(mean, m2, pass.logits, group_size);
  return {{mean, m2, gate, pass.hidden}, moments};
}

// Where statistics are constants, the groups need no more than a mean.
GroupsOfBranch groups_of_mean(const Branch& branch, int64_t num_segments) {
  const Tensor& y = *branch.y;
  if (!branch.has_gate())
    return {empty_groups(y), empty_groups(y), empty_groups(y), empty_groups(y)};
  const Tensor mean = branch.per_pixel ? temporal_pool(y, num_segments) : spatial_pool(y);
  const GatePass pass = run_gate_network(branch.network, mean);
  return {mean, empty_groups(y), as_tensor(call_aten("aten::sigmoid", "", pass.logits)[0]),
          pass.hidden};
}

// The result, the coefficients, and what is kept for the groups of both branches.
using Results =
    std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

Results normalize_refine(const char* name, const Branch (&branches)[2], const BatchNorm& bn,
                         int64_t num_segments) {
  STD_TORCH_CHECK(branches[0].y || branches[1].y, name, ": a branch must be given");
  const Tensor& like = branches[0].y ? *branches[0].y : *branches[1].y;
  const auto none = [&] {
    return GroupsOfBranch{empty_groups(like), empty_groups(like), empty_groups(like),
                          empty_groups(like)};
  };
  GroupsOfBranch groups[2] = {none(), none()};
  OptionalTensor moments[2];
  for (int i = 0; i < 2; ++i) {
    if (!branches[i].y) continue;
    if (bn.training)
      std::tie(groups[i], moments[i]) = groups_of_batch(branches[i], num_segments);
    else
      groups[i] = groups_of_mean(branches[i], num_segments);
  }
  const Tensor coefficients = bn.training
                                  ? coefficients_of_batch(name, bn, beside(moments[0], moments[1]),
                                                          values_of_statistics(like, true))
                                  : coefficients_of_running(name, bn, like.scalar_type());
  const Tensor out =
      refine(branches[0].y, branches[1].y, given_if(branches[0].has_gate(), groups[0].gate),
             given_if(branches[1].has_gate(), groups[1].gate), coefficients, num_segments);
  const auto& [frames, pixels] = groups;
  return {out,           coefficients, frames.mean, frames.m2,   frames.gate,
          frames.hidden, pixels.mean,  pixels.m2,   pixels.gate, pixels.hidden};
}

Results refine_bn_relu(const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
                       const OptionalTensor& weight, const OptionalTensor& bias,
                       const OptionalTensor& running_mean, const OptionalTensor& running_var,
                       double eps, const OptionalTensor& temporal_reduce,
                       const OptionalTensor& temporal_gate, const OptionalTensor& spatial_reduce,
                       const OptionalTensor& spatial_gate, int64_t num_segments) {
  const OptionalTensor none;
  const Branch branches[2] = {
      {spatial_y, {temporal_reduce, temporal_gate, num_segments}, false},
      {temporal_y, {spatial_reduce, spatial_gate, 0}, spatial_gate.has_value()}};
  return normalize_refine("refine_bn_relu", branches,
                          {weight, bias, running_mean, running_var, none, false, 0, eps},
                          num_segments);
}

Results refine_bn_relu_training(const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
                                const OptionalTensor& weight, const OptionalTensor& bias,
                                const OptionalTensor& running_mean,
                                const OptionalTensor& running_var,
                                const OptionalTensor& num_batches_tracked, double momentum,
                                double eps, const OptionalTensor& temporal_reduce,
                                const OptionalTensor& temporal_gate,
                                const OptionalTensor& spatial_reduce,
                                const OptionalTensor& spatial_gate, int64_t num_segments) {
  const Branch branches[2] = {
      {spatial_y, {temporal_reduce, temporal_gate, num_segments}, false},
      {temporal_y, {spatial_reduce, spatial_gate, 0}, spatial_gate.has_value()}};
  return normalize_refine(
      "refine_bn_relu_training", branches,
      {weight, bias, running_mean, running_var, num_batches_tracked, true, momentum, eps},
      num_segments);
}

// Of both branches, of weight and bias, and of the weights of both gate networks.
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> refine_bn_relu_backward(
    const Tensor& grad, const OptionalTensor& spatial_y, const OptionalTensor& temporal_y,
    const Tensor& coefficients, const Tensor& frame_mean, const Tensor& frame_m2,
    const Tensor& frame_gate, const Tensor& frame_hidden, const Tensor& pixel_mean,
    const Tensor& pixel_m2, const Tensor& pixel_gate, const Tensor& pixel_hidden,
    const OptionalTensor& temporal_reduce, const OptionalTensor& temporal_gate,
    const OptionalTensor& spatial_reduce, const OptionalTensor& spatial_gate, bool training,
    int64_t num_segments) {
  constexpr const char* kName = "refine_bn_relu_backward";
  const Branch branches[2] = {
      {spatial_y, {temporal_reduce, temporal_gate, num_segments}, false},
      {temporal_y, {spatial_reduce, spatial_gate, 0}, spatial_gate.has_value()}};
  const GroupsOfBranch groups[2] = {{frame_mean, frame_m2, frame_gate, frame_hidden},
                                    {pixel_mean, pixel_m2, pixel_gate, pixel_hidden}};
  OptionalTensor gates[2], means[2];
  for (int i = 0; i < 2; ++i) {
    gates[i] = given_if(branches[i].has_gate(), groups[i].gate);
    means[i] = given_if(branches[i].has_gate(), groups[i].mean);
  }
  const auto [frame_sums, pixel_sums] =
      refine_backward_sums(grad, spatial_y, temporal_y, gates[0], gates[1], means[0], means[1],
                           coefficients, num_segments);
  const Tensor* const sums[2] = {&frame_sums, &pixel_sums};
  const int64_t first_channels[2] = {0, branches[0].channels()};
  OptionalTensor of_channels[2];
  for (int i = 0; i < 2; ++i)
    if (branches[i].y)
      of_channels[i] =
          gated_channel_sums(*sums[i], gates[i], means[i], coefficients, first_channels[i]);
  const BatchNormGradient gradient =
      gradient_of(kName, beside(of_channels[0], of_channels[1]), 1, coefficients,
                  values_of_statistics(grad, training));
  const auto none = [&] { return empty_groups(grad); };
  GateGradients of_networks[2] = {{none(), none(), none()}, {none(), none(), none()}};
  OptionalTensor of_means[2];
  for (int i = 0; i < 2; ++i) {
    if (!branches[i].has_gate()) continue;
    const Tensor grad_logits = gate_gradient(
        *sums[i], groups[i].gate, groups[i].mean, given_if(training, groups[i].m2), coefficients,
        gradient.coefficients, first_channels[i], branches[i].group_size(num_segments));
    of_networks[i] =
        gate_network_gradients(branches[i].network, grad_logits, groups[i].mean, groups[i].hidden);
    of_means[i] = of_networks[i].context;
  }
  const auto [grad_spatial, grad_temporal] =
      refine_backward(grad, spatial_y, temporal_y, gates[0], gates[1], of_means[0], of_means[1],
                      coefficients, gradient.coefficients, num_segments);
  return {grad_spatial,          grad_temporal,       gradient.weight,       gradient.bias,
          of_networks[0].reduce, of_networks[0].gate, of_networks[1].reduce, of_networks[1].gate};
}

}  // namespace
}  // namespace stc

STC_KERNELS(m) {
  m.impl("refine_bn_relu", stc::kBoxed<stc::refine_bn_relu>);
  m.impl("refine_bn_relu_training", stc::kBoxed<stc::refine_bn_relu_training>);
  m.impl("refine_bn_relu_backward", stc::kBoxed<stc::refine_bn_relu_backward>);
}
