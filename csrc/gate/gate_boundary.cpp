#include <tuple>

#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

Tensor gate(const char* name, const Frames& frames, const View& view, const Tensor& logits) {
  const Tensor& y = frames.tensor();
  const Tensor out = empty_frames(y, y.sizes(), y.scalar_type(), frames.memory_format());
  dispatch_dtype(name, y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const GateArguments<T> arguments{view, const_data_of<T>(y),
                                     const_data_of<Accumulate<T>>(logits), data_of<T>(out)};
    launch(name, kernels<T>().gate_forward, arguments, view_units(view), view.size());
  });
  return out;
}

std::tuple<Tensor, Tensor> gate_backward(const char* name, const Tensor& grad, const Frames& frames,
                                         const View& view, const Tensor& logits,
                                         const Tensor& grad_logits) {
  const Tensor& y = frames.tensor();
  check_like(name, "grad", grad, y.sizes(), y.scalar_type());
  const Frames grad_out(name, "grad", grad, frames.memory_format());
  const Tensor grad_y = empty_frames(y, y.sizes(), y.scalar_type(), frames.memory_format());
  dispatch_dtype(name, y.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const GateBackwardArguments<T> arguments{view,
                                             const_data_of<T>(grad_out.tensor()),
                                             const_data_of<T>(y),
                                             const_data_of<Accumulate<T>>(logits),
                                             data_of<T>(grad_y),
                                             data_of<Accumulate<T>>(grad_logits)};
    launch(name, kernels<T>().gate_backward, arguments, view_units(view),
           view.size() + logits.numel());
  });
  return {grad_y, grad_logits};
}

// (N*T, C) logits in memory order.
Tensor frame_logits(const char* name, const Frames& frames, const Tensor& logits) {
  check_like(name, "logits", logits, {frames.count(), frames.channels()},
             accumulate_dtype(frames.tensor().scalar_type()));
  return torch::stable::contiguous(logits);
}

// (N, C, H, W) logits in the memory format of the frames.
Tensor clip_logits(const char* name, const Frames& frames, const Tensor& logits,
                   int64_t num_segments) {
  const Tensor& y = frames.tensor();
  check_segments(name, y, num_segments);
  check_like(name, "logits", logits,
             {frames.count() / num_segments, y.size(1), y.size(2), y.size(3)},
             accumulate_dtype(y.scalar_type()));
  return torch::stable::contiguous(logits, frames.memory_format());
}

Tensor temporal_gate(const Tensor& y, const Tensor& logits) {
  constexpr const char* kName = "temporal_gate";
  const Frames frames(kName, "y", y);
  return gate(kName, frames, frames.spatial_view(), frame_logits(kName, frames, logits));
}

std::tuple<Tensor, Tensor> temporal_gate_backward(const Tensor& grad, const Tensor& y,
                                                  const Tensor& logits) {
  constexpr const char* kName = "temporal_gate_backward";
  const Frames frames(kName, "y", y);
  const Tensor dense_logits = frame_logits(kName, frames, logits);
  return gate_backward(kName, grad, frames, frames.spatial_view(), dense_logits,
                       empty(dense_logits, dense_logits.sizes()));
}

Tensor spatial_gate(const Tensor& y, const Tensor& logits, int64_t num_segments) {
  constexpr const char* kName = "spatial_gate";
  const Frames frames(kName, "y", y);
  const Tensor dense_logits = clip_logits(kName, frames, logits, num_segments);
  return gate(kName, frames, frames.temporal_view(num_segments), dense_logits);
}

std::tuple<Tensor, Tensor> spatial_gate_backward(const Tensor& grad, const Tensor& y,
                                                 const Tensor& logits, int64_t num_segments) {
  constexpr const char* kName = "spatial_gate_backward";
  const Frames frames(kName, "y", y);
  const Tensor dense_logits = clip_logits(kName, frames, logits, num_segments);
  return gate_backward(
      kName, grad, frames, frames.temporal_view(num_segments), dense_logits,
      empty_frames(logits, logits.sizes(), logits.scalar_type(), frames.memory_format()));
}

}  // namespace
}  // namespace stc

STC_KERNELS(m) {
  m.impl("temporal_gate", stc::kBoxed<stc::temporal_gate>);
  m.impl("temporal_gate_backward", stc::kBoxed<stc::temporal_gate_backward>);
  m.impl("spatial_gate", stc::kBoxed<stc::spatial_gate>);
  m.impl("spatial_gate_backward", stc::kBoxed<stc::spatial_gate_backward>);
}
