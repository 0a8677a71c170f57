// The operators as PyTorch sees them, whatever the device.
#include "common/registration.h"

STC_SCHEMAS(m) {
  m.def("temporal_shift(Tensor x, SymInt num_segments, SymInt shift_div) -> Tensor");
  m.def("temporal_shift_backward(Tensor grad, SymInt num_segments, SymInt shift_div) -> Tensor");

  m.def("spatial_pool(Tensor y) -> Tensor");
  m.def(
      "spatial_pool_backward(Tensor grad, SymInt height, SymInt width, ScalarType dtype, "
      "MemoryFormat memory_format) -> Tensor");
  m.def("temporal_pool(Tensor y, SymInt num_segments) -> Tensor");
  m.def(
      "temporal_pool_backward(Tensor grad, SymInt num_segments, ScalarType dtype, "
      "MemoryFormat memory_format) -> Tensor");

  m.def("temporal_gate(Tensor y, Tensor logits) -> Tensor");
  m.def("temporal_gate_backward(Tensor grad, Tensor y, Tensor logits) -> (Tensor, Tensor)");
  m.def("spatial_gate(Tensor y, Tensor logits, SymInt num_segments) -> Tensor");
  m.def(
      "spatial_gate_backward(Tensor grad, Tensor y, Tensor logits, SymInt num_segments) -> "
      "(Tensor, Tensor)");

  // The fused operators: in evaluation, in training, and backward. What they return beside their
  // results, `coefficients` and what is kept per group, is for backward.
  m.def(
      "bn_relu_shift_split(Tensor u, Tensor? weight, Tensor? bias, Tensor? running_mean, "
      "Tensor? running_var, float eps, SymInt num_segments, SymInt spatial_channels, SymInt fold, "
      "SymInt stride) -> (Tensor, Tensor, Tensor)");
  m.def(
      "bn_relu_shift_split_training(Tensor u, Tensor? weight, Tensor? bias, "
      "Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor(c!)? num_batches_tracked, "
      "float momentum, float eps, SymInt num_segments, SymInt spatial_channels, SymInt fold, "
      "SymInt stride) -> (Tensor, Tensor, Tensor)");
  m.def(
      "bn_relu_shift_split_backward(Tensor grad_spatial, Tensor grad_temporal, Tensor u, "
      "Tensor coefficients, bool training, SymInt num_segments, SymInt spatial_channels, "
      "SymInt fold, SymInt stride) -> (Tensor, Tensor, Tensor)");

  m.def(
      "refine_bn_relu(Tensor? spatial_y, Tensor? temporal_y, Tensor? weight, Tensor? bias, "
      "Tensor? running_mean, Tensor? running_var, float eps, Tensor? temporal_reduce, "
      "Tensor? temporal_gate, Tensor? spatial_reduce, Tensor? spatial_gate, SymInt num_segments) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "refine_bn_relu_training(Tensor? spatial_y, Tensor? temporal_y, Tensor? weight, "
      "Tensor? bias, Tensor(a!)? running_mean, Tensor(b!)? running_var, "
      "Tensor(c!)? num_batches_tracked, float momentum, float eps, Tensor? temporal_reduce, "
      "Tensor? temporal_gate, Tensor? spatial_reduce, Tensor? spatial_gate, SymInt num_segments) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "refine_bn_relu_backward(Tensor grad, Tensor? spatial_y, Tensor? temporal_y, "
      "Tensor coefficients, Tensor frame_mean, Tensor frame_m2, Tensor frame_gate, "
      "Tensor frame_hidden, Tensor pixel_mean, Tensor pixel_m2, Tensor pixel_gate, "
      "Tensor pixel_hidden, Tensor? temporal_reduce, Tensor? temporal_gate, "
      "Tensor? spatial_reduce, Tensor? spatial_gate, bool training, SymInt num_segments) -> "
      "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");

  m.def(
      "bn_add_relu(Tensor w, Tensor identity, Tensor? weight, Tensor? bias, Tensor? running_mean, "
      "Tensor? running_var, float eps, Tensor? identity_weight, Tensor? identity_bias, "
      "Tensor? identity_running_mean, Tensor? identity_running_var, float identity_eps) -> "
      "(Tensor, Tensor, Tensor)");
  m.def(
      "bn_add_relu_training(Tensor w, Tensor identity, Tensor? weight, Tensor? bias, "
      "Tensor(a!)? running_mean, Tensor(b!)? running_var, Tensor(c!)? num_batches_tracked, "
      "bool training, float momentum, float eps, Tensor? identity_weight, Tensor? identity_bias, "
      "Tensor(d!)? identity_running_mean, Tensor(e!)? identity_running_var, "
      "Tensor(f!)? identity_num_batches_tracked, bool identity_training, "
      "float identity_momentum, float identity_eps) -> (Tensor, Tensor, Tensor)");
  m.def(
      "bn_add_relu_backward(Tensor grad, Tensor out, Tensor w, Tensor? identity, "
      "Tensor coefficients, Tensor? identity_coefficients, bool training, bool identity_training) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");

  // Their pieces, between which synchronized batch norm collects statistics of other processes.
  // `coefficients` are the rows (scale, shift, mean, rstd) of C channels, `grad_coefficients`
  // (slope, offset): the gradient of z is scale * d + slope * z + offset, for d, the gradient of
  // scale * z + shift.
  m.def("spatial_moments(Tensor y) -> (Tensor, Tensor)");
  m.def("temporal_moments(Tensor y, SymInt num_segments) -> (Tensor, Tensor)");
  m.def(
      "gate_network(Tensor context, Tensor? reduce, Tensor gate, SymInt num_segments) -> "
      "(Tensor, Tensor)");
  m.def(
      "gate_network_backward(Tensor grad, Tensor context, Tensor hidden, Tensor? reduce, "
      "Tensor gate, SymInt num_segments) -> (Tensor, Tensor, Tensor)");
  m.def(
      "gated_channel_moments(Tensor mean, Tensor m2, Tensor? logits, SymInt group_size) -> "
      "(Tensor, Tensor)");
  m.def(
      "batch_norm_coefficients(Tensor moments, Tensor? weight, Tensor? bias, float eps) -> Tensor");
  m.def("batch_norm_grad_coefficients(Tensor mean_sums, Tensor coefficients) -> Tensor");
  m.def(
      "gated_channel_sums(Tensor sums, Tensor? gate, Tensor? mean, Tensor coefficients, "
      "SymInt first_channel) -> Tensor");
  m.def(
      "gate_gradient(Tensor sums, Tensor gate, Tensor mean, Tensor? m2, Tensor coefficients, "
      "Tensor grad_coefficients, SymInt first_channel, SymInt group_size) -> Tensor");

  m.def(
      "shift_split(Tensor u, Tensor coefficients, SymInt num_segments, SymInt spatial_channels, "
      "SymInt fold, SymInt stride) -> (Tensor, Tensor)");
  m.def(
      "shift_split_backward_sums(Tensor grad_spatial, Tensor grad_temporal, Tensor u, "
      "Tensor coefficients, SymInt num_segments, SymInt spatial_channels, SymInt fold, "
      "SymInt stride) -> Tensor");
  m.def(
      "shift_split_backward(Tensor grad_spatial, Tensor grad_temporal, Tensor u, "
      "Tensor coefficients, Tensor grad_coefficients, SymInt num_segments, "
      "SymInt spatial_channels, SymInt fold, SymInt stride) -> Tensor");

  m.def(
      "refine(Tensor? spatial_y, Tensor? temporal_y, Tensor? frame_gate, Tensor? pixel_gate, "
      "Tensor coefficients, SymInt num_segments) -> Tensor");
  m.def(
      "refine_backward_sums(Tensor grad, Tensor? spatial_y, Tensor? temporal_y, "
      "Tensor? frame_gate, Tensor? pixel_gate, Tensor? frame_mean, Tensor? pixel_mean, "
      "Tensor coefficients, SymInt num_segments) -> (Tensor, Tensor)");
  m.def(
      "refine_backward(Tensor grad, Tensor? spatial_y, Tensor? temporal_y, Tensor? frame_gate, "
      "Tensor? pixel_gate, Tensor? grad_frame_mean, Tensor? grad_pixel_mean, "
      "Tensor coefficients, Tensor grad_coefficients, SymInt num_segments) -> (Tensor, Tensor)");

  m.def(
      "add_relu(Tensor w, Tensor identity, Tensor coefficients, Tensor? identity_coefficients) -> "
      "Tensor");
  m.def(
      "add_relu_backward_sums(Tensor grad, Tensor out, Tensor w, Tensor? identity, "
      "Tensor coefficients, Tensor? identity_coefficients) -> (Tensor, Tensor)");
  m.def(
      "add_relu_backward(Tensor grad, Tensor? out, Tensor w, Tensor? identity, "
      "Tensor coefficients, Tensor? identity_coefficients, Tensor grad_coefficients, "
      "Tensor? identity_grad_coefficients) -> (Tensor, Tensor)");
}
