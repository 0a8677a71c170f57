#include "tests/check.h"
#include "tests/frames.h"
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

template <typename T>
struct ResidualInputs {
  using E = Accumulate<T>;

  FrameShape shape;  // of frames by themselves
  bool normalized;   // whether the identity has a scale and a shift of its own
  Values values;
  Buffer<T> w, identity, out, grad_out;
  Buffer<E> scale, shift, mean, slope, offset;
  Buffer<E> identity_scale, identity_shift, identity_mean, identity_slope, identity_offset;

  ResidualInputs(const FrameShape& frame_shape, bool both, Values filled_with, Random& random)
      : shape(by_themselves(frame_shape)),
        normalized(both),
        values(filled_with),
        w(shape.elements()),
        identity(shape.elements()),
        out(shape.elements()),
        grad_out(shape.elements()),
        scale(shape.channels),
        shift(shape.channels),
        mean(shape.channels),
        slope(shape.channels),
        offset(shape.channels),
        identity_scale(normalized ? shape.channels : 0),
        identity_shift(identity_scale.size()),
        identity_mean(identity_scale.size()),
        identity_slope(identity_scale.size()),
        identity_offset(identity_scale.size()) {
    for (Buffer<T>* frames : {&w, &identity, &out, &grad_out}) fill(*frames, values, random);
    for (Buffer<E>* of_channels :
         {&scale, &shift, &mean, &slope, &offset, &identity_scale, &identity_shift, &identity_mean,
          &identity_slope, &identity_offset})
      fill(*of_channels, values, random);
    for (int64_t i = 0; i < out.size(); ++i) out[i] = from_double<T>(relu(to_double(out[i])));
  }

  // `to` may be null in the backward pass, of which `out` is an input.
  ResidualArguments<T> forward(T* to) const {
    return {shape,
            w.data(),
            identity.data(),
            scale.data(),
            shift.data(),
            normalized ? identity_scale.data() : nullptr,
            normalized ? identity_shift.data() : nullptr,
            to};
  }

  // Without a scale of its own, the identity is not read.
  ResidualBackwardArguments<T> backward() {
    ResidualBackwardArguments<T> b{};
    b.forward = forward(out.data());
    b.grad_out = grad_out.data();
    b.mean = mean.data();
    b.slope = slope.data();
    b.offset = offset.data();
    if (!normalized) b.forward.identity = nullptr;
    if (!normalized) return b;
    b.identity_mean = identity_mean.data();
    b.identity_slope = identity_slope.data();
    b.identity_offset = identity_offset.data();
    return b;
  }

  // The gradient of what the ReLU let pass.
  double gradient(int64_t at) const { return to_double(out[at]) > 0 ? to_double(grad_out[at]) : 0; }

  bool guards_are_untouched() const {
    return untouched_guards(w, identity, out, grad_out, scale, shift, mean, slope, offset,
                            identity_scale, identity_shift, identity_mean, identity_slope,
                            identity_offset);
  }
};

template <typename T>
void test_forward(const Device& device, const std::string& name, const ResidualInputs<T>& in) {
  Output<T> out(in.shape.elements());
  for_each_element(in.shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t at = offset_of(in.shape, frame, channel, pixel);
    Sum sum;
    sum.add(double{in.scale[channel]} * to_double(in.w[at]));
    sum.add(in.shift[channel]);
    sum.add((in.normalized ? in.identity_scale[channel] : 1) * to_double(in.identity[at]));
    if (in.normalized) sum.add(in.identity_shift[channel]);
    sum.value = relu(sum.value);
    out[at] = rounded<T>(sum, in.values, 3);
  });
  const auto arguments = [&](Buffer<T>& to) { return in.forward(to.data()); };
  test_outputs("residual_forward" + name, device.kernels<T>().residual_forward, units_of(in.shape),
               arguments, out);
}

// (rows, 2 or 3, channels). Products are of a rounded difference.
template <typename T>
Output<Accumulate<T>> sums_naively(const ResidualInputs<T>& in) {
  const FrameShape& shape = in.shape;
  const SumRows rows = Device::rows_of_sums(shape);
  const int64_t kinds = in.normalized ? 3 : 2;
  std::vector<Sum> sums(static_cast<size_t>(rows.rows() * kinds * shape.channels));
  for_each_element(shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t at = offset_of(shape, frame, channel, pixel);
    const int64_t row = rows.row_of(frame, pixel);
    const auto sum = [&](int64_t kind) -> Sum& {
      return sums[static_cast<size_t>((row * kinds + kind) * shape.channels + channel)];
    };
    const double d = in.gradient(at);
    sum(0).add(d);
    sum(1).add(d * (to_double(in.w[at]) - in.mean[channel]));
    if (in.normalized) sum(2).add(d * (to_double(in.identity[at]) - in.identity_mean[channel]));
  });
  Output<Accumulate<T>> expected(static_cast<int64_t>(sums.size()));
  for (int64_t i = 0; i < expected.size(); ++i)
    expected[i] =
        rounded<Accumulate<T>>(sums[static_cast<size_t>(i)], in.values, rows.most_terms() + 2);
  return expected;
}

template <typename T>
void test_backward_sums(const Device& device, const std::string& name, ResidualInputs<T>& in) {
  Output<T> grad_identity(in.normalized ? 0 : in.shape.elements());
  for (int64_t i = 0; i < grad_identity.size(); ++i) grad_identity[i] = Expected{in.gradient(i)};
  const auto arguments = [&](Buffer<Accumulate<T>>& sums, Buffer<T>& to_identity) {
    ResidualBackwardArguments<T> b = in.backward();
    b.sums = sums.data();
    b.grad_identity = to_identity.data();
    return b;
  };
  test_outputs("residual_backward_sums" + name, device.kernels<T>().residual_backward_sums,
               units_of(in.shape), arguments, sums_naively(in), grad_identity);
}

// scale * d + slope * element + offset
template <typename T>
Expected gradient_naively(Values values, double d, double scale, double slope, T element,
                          double offset) {
  Sum sum;
  sum.add(scale * d);
  sum.add(slope * to_double(element));
  sum.add(offset);
  return rounded<T>(sum, values, 3);
}

template <typename T>
void test_backward(const Device& device, const std::string& name, ResidualInputs<T>& in) {
  const int64_t size = in.shape.elements();
  Output<T> grad_w(size), grad_identity(in.normalized ? size : 0);
  for_each_element(in.shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t at = offset_of(in.shape, frame, channel, pixel);
    const double d = in.gradient(at);
    grad_w[at] = gradient_naively(in.values, d, in.scale[channel], in.slope[channel], in.w[at],
                                  in.offset[channel]);
    if (in.normalized)
      grad_identity[at] =
          gradient_naively(in.values, d, in.identity_scale[channel], in.identity_slope[channel],
                           in.identity[at], in.identity_offset[channel]);
  });
  // What the pass of the sums has written.
  Buffer<T> d(in.normalized ? 0 : size);
  for (int64_t i = 0; i < d.size(); ++i) d[i] = from_double<T>(in.gradient(i));
  const auto arguments = [&](Buffer<T>& to_w, Buffer<T>& to_identity) {
    ResidualBackwardArguments<T> b = in.backward();
    b.grad_w = to_w.data();
    b.grad_identity = in.normalized ? to_identity.data() : d.data();
    return b;
  };
  test_outputs("residual_backward" + name, device.kernels<T>().residual_backward,
               units_of(in.shape), arguments, grad_w, grad_identity);
}

template <typename T>
void test_residual_case(const Device& device, const FrameShape& shape, bool normalized,
                        Values values, Random& random) {
  ResidualInputs<T> in(shape, normalized, values, random);
  const std::string name = text_of('<', kName<T>, "> ", in.shape,
                                   normalized ? ", identity normalized" : "", " of ", values);
  test_backward_sums(device, name, in);
  test_backward(device, name, in);
  // NaN stays NaN.
  if (values == Values::any) in.identity[in.identity.size() / 2] = from_double<T>(NAN);
  test_forward(device, name, in);
  CHECK(in.guards_are_untouched(), name);
}

}  // namespace

void test_residual(const Device& device) {
  Random random(7);
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    for (const FrameShape& shape : frame_shapes())
      for (const bool normalized : {false, true}) {
        test_residual_case<T>(device, shape, normalized, Values::sixteenths, random);
        test_residual_case<T>(device, shape, normalized, Values::any, random);
      }
  });
}

}  // namespace stc::test
