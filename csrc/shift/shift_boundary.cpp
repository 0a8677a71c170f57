#include "common/launch.h"
#include "common/registration.h"

namespace stc {
namespace {

Tensor shift(const char* name, const Tensor& x, int64_t num_segments, int64_t shift_div,
             int64_t direction) {
  const Frames in(name, "x", x);
  check_segments(name, x, num_segments);
  STD_TORCH_CHECK(shift_div >= 2, name, ": shift_div must be at least 2, got ", shift_div);
  const Tensor out = empty_frames(x, x.sizes(), x.scalar_type(), in.memory_format());
  dispatch_dtype(name, x.scalar_type(), [&](auto element) {
    using T = decltype(element);
    ShiftArguments<T> arguments{};
    arguments.in = const_data_of<T>(in.tensor());
    arguments.out = data_of<T>(out);
    arguments.frames = in.count();
    arguments.num_segments = num_segments;
    arguments.rows = in.is_channels_last() ? in.pixels() : 1;
    arguments.channels = in.channels();
    arguments.inner = in.is_channels_last() ? 1 : in.pixels();
    arguments.fold = in.channels() / shift_div;
    arguments.direction = direction;
    launch(name, kernels<T>().shift_forward, arguments, arguments.units(), x.numel());
  });
  return out;
}

Tensor temporal_shift(const Tensor& x, int64_t num_segments, int64_t shift_div) {
  return shift("temporal_shift", x, num_segments, shift_div, 1);
}

Tensor temporal_shift_backward(const Tensor& grad, int64_t num_segments, int64_t shift_div) {
  return shift("temporal_shift_backward", grad, num_segments, shift_div, -1);
}

}  // namespace
}  // namespace stc

STC_KERNELS(m) {
  m.impl("temporal_shift", stc::kBoxed<stc::temporal_shift>);
  m.impl("temporal_shift_backward", stc::kBoxed<stc::temporal_shift_backward>);
}
