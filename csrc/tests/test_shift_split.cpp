#include "tests/check.h"
#include "tests/frames.h"
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

struct SplitCase {
  FrameShape shape;  // of frames by themselves
  int64_t num_segments;
  int64_t spatial_channels;
  int64_t fold;
  int64_t stride;

  FrameShape spatial() const { return with_channels(shape, spatial_channels); }
  FrameShape temporal() const {
    FrameShape grid = with_channels(shape, shape.channels - spatial_channels);
    grid.height = ceil_div(shape.height, stride);
    grid.width = ceil_div(shape.width, stride);
    return grid;
  }

  // Where in the frames an element of `temporal` is from.
  int64_t offset_of_temporal(int64_t frame, int64_t channel, int64_t pixel) const {
    const int64_t grid_width = temporal().width;
    const int64_t row = pixel / grid_width * stride, column = pixel % grid_width * stride;
    return offset_of(shape, frame, spatial_channels + channel, row * shape.width + column);
  }

  // Where in the frames an element of `spatial` is from, or -1 if that is outside the clip.
  int64_t offset_of_spatial(int64_t frame, int64_t channel, int64_t pixel) const {
    const int64_t later = channel < fold ? 1 : channel < 2 * fold ? -1 : 0;
    const int64_t time = frame % num_segments + later;
    if (time < 0 || time >= num_segments) return -1;
    return offset_of(shape, frame + later, channel, pixel);
  }
};

std::ostream& operator<<(std::ostream& out, const SplitCase& c) {
  return out << c.shape << ", num_segments " << c.num_segments << ", spatial_channels "
             << c.spatial_channels << ", fold " << c.fold << ", stride " << c.stride;
}

SplitCase split_case(const FrameShape& shape, int64_t spatial_channels, int64_t fold,
                     int64_t stride) {
  return {by_themselves(shape), shape.num_segments, spatial_channels, fold, stride};
}

std::vector<SplitCase> split_cases() {
  std::vector<SplitCase> cases;
  for (const FrameShape& shape : frame_shapes()) {
    const int64_t most = (2 * shape.channels + 2) / 3, fewest = shape.channels / 3;
    cases.push_back(split_case(shape, most, most / 2, 1));
    cases.push_back(split_case(shape, fewest, fewest / 4, 2));
  }
  for (const FrameShape& shape : few_frame_shapes())
    for (const int64_t spatial_channels :
         {int64_t{0}, int64_t{1}, shape.channels / 2, shape.channels - 1, shape.channels})
      for (const int64_t stride : {1, 2, 3, 50}) {
        cases.push_back(split_case(shape, spatial_channels, 0, stride));
        if (spatial_channels < 2) continue;
        cases.push_back(split_case(shape, spatial_channels, spatial_channels / 3, stride));
        cases.push_back(split_case(shape, spatial_channels, spatial_channels / 2, stride));
      }
  // Channels that are shifted and those that are not, in vectors of all widths.
  for (const bool channels_last : {false, true})
    for (int64_t fold = 1; fold <= 20; ++fold)
      cases.push_back(split_case({1, 3, 44, 1, 2, channels_last}, 41, fold, 1));
  // Rows of more elements, on the grid or beside it, than are taken together.
  for (const int64_t stride : {2, 3, 511, 512, 513, 600})
    for (const int64_t width : {1024, 1025, 1100, 1537})
      cases.push_back(split_case({1, 2, 2, 2, width, false}, 1, 0, stride));
  return cases;
}

template <typename T>
struct SplitInputs {
  using E = Accumulate<T>;

  SplitCase c;
  Values values;
  Buffer<T> u, grad_spatial, grad_temporal;
  Buffer<E> scale, shift, mean, slope, offset;

  SplitInputs(const SplitCase& of, Values filled_with, Random& random)
      : c(of),
        values(filled_with),
        u(c.shape.elements()),
        grad_spatial(c.spatial().elements()),
        grad_temporal(c.temporal().elements()),
        scale(c.shape.channels),
        shift(c.shape.channels),
        mean(c.shape.channels),
        slope(c.shape.channels),
        offset(c.shape.channels) {
    for (Buffer<T>* frames : {&u, &grad_spatial, &grad_temporal}) fill(*frames, values, random);
    for (Buffer<E>* of_channels : {&scale, &mean, &slope, &offset})
      fill(*of_channels, values, random);
    fill_shifts(shift, values, random);
    for_each_element(c.shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
      T& element = u[offset_of(c.shape, frame, channel, pixel)];
      keep_from_zero(element, scale[channel], shift[channel], values);
    });
  }

  // What the ReLU is applied to.
  Sum affine(int64_t channel, int64_t at) const {
    Sum sum;
    sum.add(double{scale[channel]} * to_double(u[at]));
    sum.add(shift[channel]);
    return sum;
  }

  ShiftSplitArguments<T> forward() const {
    return {c.shape,  c.num_segments, c.spatial_channels, c.fold,  c.stride,
            u.data(), scale.data(),   shift.data(),       nullptr, nullptr};
  }
  ShiftSplitBackwardArguments<T> backward() const {
    return {forward(), grad_spatial.data(), grad_temporal.data(), mean.data(),
            nullptr,   slope.data(),        offset.data(),        nullptr};
  }

  bool guards_are_untouched() const {
    return untouched_guards(u, grad_spatial, grad_temporal, scale, shift, mean, slope, offset);
  }
};

// An element of a result: multiplied and added to.
template <typename T>
Expected normalized(const SplitInputs<T>& in, int64_t channel, int64_t at) {
  Sum sum = in.affine(channel, at);
  sum.value = relu(sum.value);
  return rounded<T>(sum, in.values, 2);
}

template <typename T>
void test_forward(const Device& device, const SplitInputs<T>& in) {
  const SplitCase& c = in.c;
  const FrameShape spatial_shape = c.spatial(), temporal_shape = c.temporal();
  Output<T> spatial(spatial_shape.elements()), temporal(temporal_shape.elements());
  for_each_element(spatial_shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t from = c.offset_of_spatial(frame, channel, pixel);
    spatial[offset_of(spatial_shape, frame, channel, pixel)] =
        from < 0 ? Expected{0} : normalized(in, channel, from);
  });
  for_each_element(temporal_shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    temporal[offset_of(temporal_shape, frame, channel, pixel)] =
        normalized(in, c.spatial_channels + channel, c.offset_of_temporal(frame, channel, pixel));
  });
  const auto arguments = [&](Buffer<T>& to_spatial, Buffer<T>& to_temporal) {
    ShiftSplitArguments<T> a = in.forward();
    a.spatial = to_spatial.data();
    a.temporal = to_temporal.data();
    return a;
  };
  test_outputs(text_of("shift_split_forward<", kName<T>, "> ", c, " of ", in.values),
               device.kernels<T>().shift_split_forward, units_of(c.shape), arguments, spatial,
               temporal);
}

// d, scattered from the elements of the results to where they are from.
template <typename T>
std::vector<double> gradients_that_pass(const SplitInputs<T>& in) {
  const SplitCase& c = in.c;
  const FrameShape spatial_shape = c.spatial(), temporal_shape = c.temporal();
  std::vector<double> d(static_cast<size_t>(in.u.size()));
  const auto scatter = [&](int64_t channel, int64_t to, T grad) {
    if (to >= 0 && in.affine(channel, to).value > 0) d[static_cast<size_t>(to)] = to_double(grad);
  };
  for_each_element(spatial_shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    scatter(channel, c.offset_of_spatial(frame, channel, pixel),
            in.grad_spatial[offset_of(spatial_shape, frame, channel, pixel)]);
  });
  for_each_element(temporal_shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    scatter(c.spatial_channels + channel, c.offset_of_temporal(frame, channel, pixel),
            in.grad_temporal[offset_of(temporal_shape, frame, channel, pixel)]);
  });
  return d;
}

// (rows, 2, channels). Products are of a rounded difference.
template <typename T>
Output<Accumulate<T>> sums_naively(const SplitInputs<T>& in, const std::vector<double>& d) {
  const FrameShape& shape = in.c.shape;
  const SumRows rows = Device::rows_of_sums(shape);
  std::vector<Sum> sums(static_cast<size_t>(rows.rows() * 2 * shape.channels));
  for_each_element(shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t at = offset_of(shape, frame, channel, pixel);
    const auto to = static_cast<size_t>(rows.row_of(frame, pixel) * 2 * shape.channels + channel);
    const double grad = d[static_cast<size_t>(at)];
    sums[to].add(grad);
    sums[to + static_cast<size_t>(shape.channels)].add(grad *
                                                       (to_double(in.u[at]) - in.mean[channel]));
  });
  Output<Accumulate<T>> expected(static_cast<int64_t>(sums.size()));
  for (int64_t i = 0; i < expected.size(); ++i)
    expected[i] =
        rounded<Accumulate<T>>(sums[static_cast<size_t>(i)], in.values, rows.most_terms() + 2);
  return expected;
}

template <typename T>
void test_backward_sums(const Device& device, const SplitInputs<T>& in,
                        const std::vector<double>& d) {
  const auto arguments = [&](Buffer<Accumulate<T>>& sums) {
    ShiftSplitBackwardArguments<T> b = in.backward();
    b.sums = sums.data();
    return b;
  };
  test_outputs(text_of("shift_split_backward_sums<", kName<T>, "> ", in.c, " of ", in.values),
               device.kernels<T>().shift_split_backward_sums, units_of(in.c.shape), arguments,
               sums_naively(in, d));
}

template <typename T>
void test_backward(const Device& device, const SplitInputs<T>& in, const std::vector<double>& d) {
  const FrameShape& shape = in.c.shape;
  Output<T> grad_u(shape.elements());
  for_each_element(shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t at = offset_of(shape, frame, channel, pixel);
    Sum sum;
    sum.add(in.scale[channel] * d[static_cast<size_t>(at)]);
    sum.add(double{in.slope[channel]} * to_double(in.u[at]));
    sum.add(in.offset[channel]);
    grad_u[at] = rounded<T>(sum, in.values, 3);
  });
  const auto arguments = [&](Buffer<T>& to) {
    ShiftSplitBackwardArguments<T> b = in.backward();
    b.grad_u = to.data();
    return b;
  };
  test_outputs(text_of("shift_split_backward<", kName<T>, "> ", in.c, " of ", in.values),
               device.kernels<T>().shift_split_backward, units_of(shape), arguments, grad_u);
}

template <typename T>
void test_split_case(const Device& device, const SplitCase& c, Values values, Random& random) {
  SplitInputs<T> in(c, values, random);
  const std::vector<double> d = gradients_that_pass(in);
  test_backward_sums(device, in, d);
  test_backward(device, in, d);
  // NaN stays NaN.
  if (values == Values::any) in.u[in.u.size() / 2] = from_double<T>(NAN);
  test_forward(device, in);
  CHECK(in.guards_are_untouched(), kName<T>, c);
}

}  // namespace

void test_shift_split(const Device& device) {
  Random random(5);
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    for (const SplitCase& c : split_cases()) {
      test_split_case<T>(device, c, Values::sixteenths, random);
      test_split_case<T>(device, c, Values::any, random);
    }
  });
}

}  // namespace stc::test
