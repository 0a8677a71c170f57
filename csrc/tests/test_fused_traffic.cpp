#include "tests/device.h"
#include "tests/tests.h"
#include "tests/traffic.h"

namespace stc::test {
namespace {

// One clip of 8 frames of a stage.
constexpr int64_t kSegments = 8;

// Values per channel, which count for nothing.
template <typename T>
struct Channels {
  using E = Accumulate<T>;

  Buffer<E> values;
  Buffer<E> sums;

  explicit Channels(const FrameShape& shape)
      : values(shape.channels), sums(3 * shape.frames() * shape.channels) {}
};

template <typename T>
void test_residual_traffic(const Device& device, const FrameShape& clips, bool normalized) {
  const FrameShape shape = by_themselves(clips);
  Channels<T> channels(shape);
  const Accumulate<T>* values = channels.values.data();
  const Accumulate<T>* of_identity = normalized ? values : nullptr;
  const Buffer<T> w(shape.elements()), identity(w.size()), grad(w.size());
  Buffer<T> out(w.size()), grad_w(w.size()), grad_identity(w.size());
  const int64_t pass = w.size() * int64_t{sizeof(T)};
  const ResidualArguments<T> a{shape,  w.data(),    identity.data(), values,
                               values, of_identity, of_identity,     out.data()};
  const ResidualBackwardArguments<T> b{
      a,      grad.data(), values,      of_identity,   channels.sums.data(), values,
      values, of_identity, of_identity, grad_w.data(), grad_identity.data()};
  const auto kernels = device.kernels<T>();
  const std::string of =
      text_of("<", kName<T>, "> ", shape, normalized ? ", identity normalized" : "");
  check_traffic("residual_forward" + of, {2 * pass, pass},
                [&] { run_kernel(kernels.residual_forward, a, 0); });
  check_traffic("residual_backward_sums" + of,
                normalized ? Passes{4 * pass, 0} : Passes{3 * pass, pass},
                [&] { run_kernel(kernels.residual_backward_sums, b, 0); });
  check_traffic("residual_backward" + of,
                normalized ? Passes{4 * pass, 2 * pass} : Passes{2 * pass, pass},
                [&] { run_kernel(kernels.residual_backward, b, 0); });
}

template <typename T>
void test_split_traffic(const Device& device, const FrameShape& clips, int64_t stride) {
  const FrameShape shape = by_themselves(clips);
  const int64_t spatial_channels = shape.channels / 2, fold = spatial_channels / 8;
  Channels<T> channels(shape);
  const Accumulate<T>* values = channels.values.data();
  const Buffer<T> u(shape.elements()), grad(u.size());
  Buffer<T> spatial(u.size()), temporal(u.size()), grad_u(u.size());
  const ShiftSplitArguments<T> a{shape,          kSegments,      spatial_channels, fold,
                                 stride,         u.data(),       values,           values,
                                 spatial.data(), temporal.data()};
  const ShiftSplitBackwardArguments<T> b{
      a, grad.data(), grad.data(), values, channels.sums.data(), values, values, grad_u.data()};
  const int64_t half = u.size() / 2 * int64_t{sizeof(T)};
  const int64_t on_grid = ceil_div(shape.height, stride) * ceil_div(shape.width, stride);
  const int64_t results = half + half / shape.pixels() * on_grid;
  // Two groups of channels have a frame less to come from.
  const int64_t gradients = results - half / kSegments * 2 * fold / spatial_channels;
  const auto kernels = device.kernels<T>();
  const std::string of = text_of("<", kName<T>, "> ", shape, ", stride ", stride);
  check_traffic("shift_split_forward" + of, {results, results},
                [&] { run_kernel(kernels.shift_split_forward, a, 0); });
  check_traffic("shift_split_backward_sums" + of, {2 * half + gradients, 0},
                [&] { run_kernel(kernels.shift_split_backward_sums, b, 0); });
  check_traffic("shift_split_backward" + of, {2 * half + gradients, 2 * half},
                [&] { run_kernel(kernels.shift_split_backward, b, 0); });
}

// What is kept per group of a branch.
struct Groups {
  int64_t count;
  bool per_pixel;

  Groups(const FrameShape& shape, int64_t channels, bool pixels)
      : count((pixels ? shape.clips * shape.pixels() : shape.frames()) * channels),
        per_pixel(pixels) {}
};

template <typename T>
void test_refine_traffic(const Device& device, const FrameShape& shape) {
  using E = Accumulate<T>;
  const int64_t half = shape.channels / 2;
  const Groups groups[2] = {{shape, half, false}, {shape, half, true}};
  Channels<T> channels(shape);
  const E* values = channels.values.data();
  const Buffer<T> y(shape.elements() / 2), grad(shape.elements());
  Buffer<T> out(shape.elements()), grad_y(y.size());
  const Buffer<E> kept(groups[0].count > groups[1].count ? groups[0].count : groups[1].count);
  Buffer<E> sums(2 * kept.size());
  RefineArguments<T> a{shape, {}, values, values, out.data()};
  RefineBackwardArguments<T> b{};
  for (int i = 0; i < 2; ++i) {
    a.branches[i] = {i * half, half, true, groups[i].per_pixel, y.data(), kept.data()};
    b.branches[i] = {kept.data(), sums.data(), kept.data(), E{1}, grad_y.data()};
  }
  b.forward = a;
  b.grad_out = grad.data();
  b.slope = b.offset = values;
  const int64_t pass = shape.elements() * int64_t{sizeof(T)};
  const int64_t small = (groups[0].count + groups[1].count) * int64_t{sizeof(E)};
  const auto kernels = device.kernels<T>();
  const std::string of = text_of("<", kName<T>, "> ", shape);
  check_traffic("refine_forward" + of, {pass + small, pass},
                [&] { run_kernel(kernels.refine_forward, a, 0); });
  check_traffic("refine_backward_sums" + of, {2 * pass + 2 * small, 2 * small},
                [&] { run_kernel(kernels.refine_backward_sums, b, 0); });
  check_traffic("refine_backward" + of, {2 * pass + 2 * small, pass},
                [&] { run_kernel(kernels.refine_backward, b, 0); });
}

}  // namespace

void test_fused_traffic(const Device& device) {
  // A wide element type and a narrow one: the others are as wide, or wider.
  const auto test = [&](auto element) {
    using T = decltype(element);
    for (const bool channels_last : {false, true}) {
      for (const FrameShape& shape : {FrameShape{1, kSegments, 64, 56, 56, channels_last},
                                      FrameShape{1, kSegments, 512, 7, 7, channels_last}}) {
        test_residual_traffic<T>(device, shape, false);
        test_residual_traffic<T>(device, shape, true);
        test_split_traffic<T>(device, shape, 1);
        test_refine_traffic<T>(device, shape);
      }
      test_split_traffic<T>(device, {1, kSegments, 512, 14, 14, channels_last}, 2);
    }
  };
  test(float{});
  test(Half{});
}

}  // namespace stc::test
