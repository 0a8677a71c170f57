#include "tests/check.h"
#include "tests/frames.h"
#include "tests/groups.h"
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

// What the backward pass keeps per group and per channel.
template <typename E>
struct GroupGradients {
  GroupShape shape;
  Values values;
  Buffer<E> sums, products, gate, mean, m2, z_mean, scale, slope, offset;

  GroupGradients(const GroupShape& group_shape, Values filled_with, Random& random)
      : shape(group_shape),
        values(filled_with),
        sums(shape.size()),
        products(shape.size()),
        gate(shape.size()),
        mean(shape.size()),
        m2(shape.size()),
        z_mean(shape.channels),
        scale(shape.channels),
        slope(shape.channels),
        offset(shape.channels) {
    for (Buffer<E>* buffer :
         {&sums, &products, &gate, &mean, &m2, &z_mean, &scale, &slope, &offset})
      fill(*buffer, values, random);
  }

  bool guards_are_untouched() const {
    return untouched_guards(sums, products, gate, mean, m2, z_mean, scale, slope, offset);
  }
};

// Per group, sum of d * (gate * y - z_mean) = gate * product + (gate * mean - z_mean) * sum, the
// product being that of d * (y - mean).
template <typename E>
void test_channel_sums(const Device& device, const GroupGradients<E>& in, bool gated) {
  const GroupShape& shape = in.shape;
  std::vector<Sum> sums(static_cast<size_t>(blocks_of(shape) * 2 * shape.channels));
  for_each_group(shape, [&](int64_t block, int64_t channel, int64_t at) {
    const auto to = static_cast<size_t>(block * 2 * shape.channels + channel);
    Sum& product = sums[to + static_cast<size_t>(shape.channels)];
    sums[to].add(in.sums[at]);
    product.add((gated ? in.gate[at] : 1.0) * in.products[at]);
    if (!gated) return;
    product.add(double{in.gate[at]} * in.mean[at] * in.sums[at]);
    product.add(-double{in.z_mean[channel]} * in.sums[at]);
  });
  Output<E> expected(static_cast<int64_t>(sums.size()));
  const auto roundings = static_cast<double>(most_groups_in_block(shape) + 4);
  for (int64_t i = 0; i < expected.size(); ++i)
    expected[i] = rounded<E>(sums[static_cast<size_t>(i)], in.values, roundings);
  const auto arguments = [&](Buffer<E>& blocks) {
    return ChannelSumsArguments<E>{shape,
                                   in.sums.data(),
                                   in.products.data(),
                                   gated ? in.gate.data() : nullptr,
                                   gated ? in.mean.data() : nullptr,
                                   in.z_mean.data(),
                                   blocks.data(),
                                   blocks.data() + shape.channels};
  };
  test_outputs(
      text_of("channel_sums<", kName<E>, "> ", shape, gated ? "" : ", no gates", " of ", in.values),
      device.group_kernels<E>().channel_sums, group_units(shape), arguments, expected);
}

// Of the elements of a group, sum of (scale * d + slope * z + offset) * y for z = gate * y. The sum
// of d * y is that of d * (y - mean) and of mean * d; the sum of y * y is m2 + elements * mean^2.
template <typename E>
Sum gate_gradient_naively(const GroupGradients<E>& in, int64_t at, int64_t channel, double elements,
                          bool with_m2) {
  const double gate = in.gate[at], mean = in.mean[at];
  const double scale = in.scale[channel], slope = in.slope[channel];
  const double of_logit = gate * (1 - gate);
  Sum sum;
  sum.add(of_logit * scale * in.products[at]);
  sum.add(of_logit * scale * mean * in.sums[at]);
  if (!with_m2) return sum;
  sum.add(of_logit * slope * gate * in.m2[at]);
  sum.add(of_logit * slope * gate * elements * mean * mean);
  sum.add(of_logit * in.offset[channel] * elements * mean);
  return sum;
}

template <typename E>
void test_gate_gradient(const Device& device, const GroupGradients<E>& in, int64_t group_size,
                        bool with_m2) {
  Output<E> grad_logits(in.shape.size());
  // What takes most: elements * (gate * mean * slope + offset) + ..., times the mean, plus what is
  // of the deviations, times gate * (1 - gate).
  constexpr double kRoundings = 11;
  for_each_group(in.shape, [&](int64_t, int64_t channel, int64_t at) {
    const Sum sum =
        gate_gradient_naively(in, at, channel, static_cast<double>(group_size), with_m2);
    grad_logits[at] = rounded<E>(sum, in.values, kRoundings);
  });
  const Buffer<E> none(std::vector<E>(static_cast<size_t>(in.shape.channels)));
  const auto arguments = [&](Buffer<E>& to) {
    return GateGradientArguments<E>{in.shape,
                                    group_size,
                                    in.sums.data(),
                                    in.products.data(),
                                    in.gate.data(),
                                    in.mean.data(),
                                    with_m2 ? in.m2.data() : nullptr,
                                    in.scale.data(),
                                    with_m2 ? in.slope.data() : none.data(),
                                    with_m2 ? in.offset.data() : none.data(),
                                    to.data()};
  };
  test_outputs(text_of("gate_gradient<", kName<E>, "> ", in.shape, ", group_size ", group_size,
                       with_m2 ? "" : ", no m2"),
               device.group_kernels<E>().gate_gradient, group_units(in.shape), arguments,
               grad_logits);
}

// Sums are kept in doubles: their errors are those of doubles, twice for the naive loop's.
template <typename E>
void test_sum_rows(const Device& device, int64_t rows, int64_t columns, Random& random) {
  Buffer<E> terms(rows * columns);
  fill(terms, Values::any, random);
  Output<E> out(columns);
  for (int64_t column = 0; column < columns; ++column) {
    Sum sum;
    for (int64_t row = 0; row < rows; ++row) sum.add(terms[row * columns + column]);
    out[column] = rounded_once_more<E>(
        sum.value, 2 * static_cast<double>(rows) * kUnitRoundoff<double> * sum.magnitudes);
  }
  const auto arguments = [&](Buffer<E>& to) {
    return SumRowsArguments<E>{rows, columns, terms.data(), to.data()};
  };
  const std::string name = text_of("sum_rows<", kName<E>, "> of ", rows, " x ", columns);
  test_outputs(name, device.group_kernels<E>().sum_rows, column_units(columns), arguments, out);
  CHECK(terms.guards_are_untouched(), name);
}

template <typename E>
void test_gradients(const Device& device, const GroupShape& shape, Values values, Random& random) {
  const GroupGradients<E> in(shape, values, random);
  for (const bool gated : {false, true}) test_channel_sums(device, in, gated);
  // Products of so many sixteenths are not exact.
  if (values == Values::any)
    for (const int64_t group_size : {1, 49})
      for (const bool with_m2 : {false, true}) test_gate_gradient(device, in, group_size, with_m2);
  CHECK(in.guards_are_untouched(), kName<E>, shape);
}

template <typename E>
void test_accumulate_type(const Device& device, Random& random) {
  for (const GroupShape& shape : group_shapes()) {
    test_gradients<E>(device, shape, Values::sixteenths, random);
    test_gradients<E>(device, shape, Values::any, random);
  }
  for (const int64_t rows : {0, 1, 2, 3, 64, 300})
    for (const int64_t columns : {1, 2, 3, 7, 8, 15, 63, 64, 65, 127, 128, 129, 200})
      test_sum_rows<E>(device, rows, columns, random);
}

}  // namespace

void test_batch_norm_backward(const Device& device) {
  Random random(10);
  test_accumulate_type<float>(device, random);
  test_accumulate_type<double>(device, random);
}

}  // namespace stc::test
