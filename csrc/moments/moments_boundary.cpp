#include "moments/moments_boundary.h"

#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

void mean(const char* name, const Frames& frames, const View& view, const Tensor& out) {
  dispatch_dtype(name, frames.tensor().scalar_type(), [&](auto element) {
    using T = decltype(element);
    const MeanArguments<T> arguments{view, const_data_of<T>(frames.tensor()),
                                     data_of<Accumulate<T>>(out)};
    launch(name, kernels<T>().mean_forward, arguments, view_units(view), out.numel() + view.size());
  });
}

void broadcast_mean(const char* name, const Tensor& grad, const View& view, const Tensor& out) {
  dispatch_dtype(name, out.scalar_type(), [&](auto element) {
    using T = decltype(element);
    const MeanBackwardArguments<T> arguments{view, const_data_of<Accumulate<T>>(grad),
                                             data_of<T>(out)};
    launch(name, kernels<T>().mean_backward, arguments, view_units(view), view.size());
  });
}

std::tuple<Tensor, Tensor> moments(const char* name, const Frames& frames, const View& view,
                                   const Tensor& mean, const Tensor& m2) {
  STD_TORCH_CHECK(view.size() > 0 || mean.numel() == 0, name, ": y must have a value per mean");
  dispatch_dtype(name, frames.tensor().scalar_type(), [&](auto element) {
    using T = decltype(element);
    const MomentsArguments<T> arguments{view, const_data_of<T>(frames.tensor()),
                                        data_of<Accumulate<T>>(mean), data_of<Accumulate<T>>(m2)};
    launch(name, kernels<T>().moments_forward, arguments, view_units(view), view.size());
  });
  return {mean, m2};
}

}  // namespace

Tensor spatial_pool(const Tensor& y) {
  const Frames frames("spatial_pool", "y", y);
  const Tensor out = stc::empty(y, {y.size(0), y.size(1)}, accumulate_dtype(y.scalar_type()));
  mean("spatial_pool", frames, frames.spatial_view(), out);
  return out;
}

namespace {

Tensor spatial_pool_backward(const Tensor& grad, int64_t height, int64_t width, ScalarType dtype,
                             MemoryFormat memory_format) {
  constexpr const char* kName = "spatial_pool_backward";
  STD_TORCH_CHECK(grad.dim() == 2, kName, ": grad must have 2 dimensions, got ", grad.dim());
  STD_TORCH_CHECK(height >= 0 && width >= 0, kName, ": height and width must not be negative");
  check_like(kName, "grad", grad, grad.sizes(), accumulate_dtype(dtype));
  const Frames out(
      kName, "grad_y",
      empty_frames(grad, {grad.size(0), grad.size(1), height, width}, dtype, memory_format),
      memory_format);
  broadcast_mean(kName, torch::stable::contiguous(grad), out.spatial_view(), out.tensor());
  return out.tensor();
}

}  // namespace

std::tuple<Tensor, Tensor> spatial_moments(const Tensor& y) {
  const Frames frames("spatial_moments", "y", y);
  const auto empty = [&] {
    return stc::empty(y, {y.size(0), y.size(1)}, accumulate_dtype(y.scalar_type()));
  };
  return moments("spatial_moments", frames, frames.spatial_view(), empty(), empty());
}

Tensor temporal_pool(const Tensor& y, int64_t num_segments) {
  const Frames frames("temporal_pool", "y", y);
  check_segments("temporal_pool", y, num_segments);
  const Tensor out = empty_frames(y, {y.size(0) / num_segments, y.size(1), y.size(2), y.size(3)},
                                  accumulate_dtype(y.scalar_type()), frames.memory_format());
  mean("temporal_pool", frames, frames.temporal_view(num_segments), out);
  return out;
}

std::tuple<Tensor, Tensor> temporal_moments(const Tensor& y, int64_t num_segments) {
  const Frames frames("temporal_moments", "y", y);
  check_segments("temporal_moments", y, num_segments);
  const auto empty = [&] {
    return empty_frames(y, {y.size(0) / num_segments, y.size(1), y.size(2), y.size(3)},
                        accumulate_dtype(y.scalar_type()), frames.memory_format());
  };
  return moments("temporal_moments", frames, frames.temporal_view(num_segments), empty(), empty());
}

namespace {

Tensor temporal_pool_backward(const Tensor& grad, int64_t num_segments, ScalarType dtype,
                              MemoryFormat memory_format) {
  constexpr const char* kName = "temporal_pool_backward";
  const Frames clips(kName, "grad", grad, memory_format);
  STD_TORCH_CHECK(num_segments >= 1, kName, ": num_segments must be at least 1, got ",
                  num_segments);
  check_like(kName, "grad", grad, grad.sizes(), accumulate_dtype(dtype));
  const Frames out(
      kName, "grad_y",
      empty_frames(grad, {grad.size(0) * num_segments, grad.size(1), grad.size(2), grad.size(3)},
                   dtype, memory_format),
      memory_format);
  broadcast_mean(kName, clips.tensor(), out.temporal_view(num_segments), out.tensor());
  return out.tensor();
}

}  // namespace

}  // namespace stc

STC_KERNELS(m) {
  m.impl("spatial_pool", stc::kBoxed<stc::spatial_pool>);
  m.impl("spatial_pool_backward", stc::kBoxed<stc::spatial_pool_backward>);
  m.impl("spatial_moments", stc::kBoxed<stc::spatial_moments>);
  m.impl("temporal_moments", stc::kBoxed<stc::temporal_moments>);
  m.impl("temporal_pool", stc::kBoxed<stc::temporal_pool>);
  m.impl("temporal_pool_backward", stc::kBoxed<stc::temporal_pool_backward>);
}
