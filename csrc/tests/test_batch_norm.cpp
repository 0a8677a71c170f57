#include "tests/check.h"
#include "tests/groups.h"
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

// Moments of the union of parts, in doubles. The mean is rounded once per part, and where it is
// weighted and divided; so far it may be off wherever something is measured from it. Twice: the
// naive loop rounds as well.
struct Part {
  double elements;
  double mean;
  double m2;
};

struct Moments {
  double elements = 0;
  Expected mean{0};
  Expected m2{0};

  explicit Moments(const std::vector<Part>& parts) {
    const double roundoff = 2 * kUnitRoundoff<double> * static_cast<double>(parts.size() + 4);
    double magnitudes = 0;
    for (const Part& part : parts) {
      elements += part.elements;
      mean.value += part.elements * part.mean;
      magnitudes += part.elements * std::fabs(part.mean);
    }
    mean.value /= elements;
    mean.allowed_error = roundoff * magnitudes / elements;
    for (const Part& part : parts) {
      const double deviation = part.mean - mean.value;
      m2.value += part.m2 + part.elements * deviation * deviation;
      // A gated mean, of which the deviation is taken, is rounded itself.
      const double error = mean.allowed_error + 2 * kUnitRoundoff<double> * std::fabs(part.mean);
      m2.allowed_error += part.elements * error * (2 * std::fabs(deviation) + error);
    }
    m2.allowed_error += 2 * roundoff * m2.value;
  }
};

template <typename E>
struct GroupMoments {
  GroupShape shape;
  int64_t group_size;
  bool gated;
  Buffer<E> mean, m2, logits;

  GroupMoments(const GroupShape& group_shape, int64_t size, bool with_gates, double centre,
               Random& random)
      : shape(group_shape),
        group_size(size),
        gated(with_gates),
        mean(shape.size()),
        m2(shape.size()),
        logits(gated ? shape.size() : 0) {
    for (int64_t i = 0; i < mean.size(); ++i) {
      mean[i] = static_cast<E>(centre + uniform(random, 2));
      m2[i] = static_cast<E>(std::fabs(uniform(random, 2)) * static_cast<double>(group_size));
      if (gated) logits[i] = static_cast<E>(uniform(random, 12));
    }
  }

  GatedMomentsArguments<E> arguments(Buffer<E>& gate, Buffer<double>& block_mean,
                                     Buffer<double>& block_m2) const {
    return {
        shape,       group_size,        mean.data(),    m2.data(), gated ? logits.data() : nullptr,
        gate.data(), block_mean.data(), block_m2.data()};
  }
};

// Errors of float gates may be 4 units in the last place, as test_sigmoid asserts; each is at most
// two unit roundoffs.
template <typename E>
Output<E> gates_naively(const Buffer<E>& logits) {
  Output<E> gates(logits.size());
  for (int64_t i = 0; i < logits.size(); ++i) {
    const double gate = 1 / (1 + std::exp(-double{logits[i]}));
    gates[i] = {gate, 8 * kUnitRoundoff<E> * gate};
  }
  return gates;
}

template <typename E>
void test_gated_moments(const Device& device, const GroupMoments<E>& in) {
  const auto kernel = device.group_kernels<E>().gated_moments;
  const auto arguments = [&](Buffer<E>& gate, Buffer<double>& mean, Buffer<double>& m2) {
    return in.arguments(gate, mean, m2);
  };
  const int64_t units = group_units(in.shape), size = blocks_of(in.shape) * in.shape.channels;
  // Blocks are of the gates that were written: those are tested apart.
  Buffer<E> gate(in.logits.size());
  Buffer<double> mean_of_block(size), m2_of_block(size);
  run_kernel(kernel, arguments(gate, mean_of_block, m2_of_block), units);
  std::vector<std::vector<Part>> parts(static_cast<size_t>(size));
  for_each_group(in.shape, [&](int64_t block, int64_t channel, int64_t at) {
    const double factor = in.gated ? gate[at] : 1;
    parts[static_cast<size_t>(block * in.shape.channels + channel)].push_back(
        {static_cast<double>(in.group_size), factor * in.mean[at], factor * factor * in.m2[at]});
  });
  Output<double> block_mean(size), block_m2(size);
  for (int64_t i = 0; i < size; ++i) {
    const Moments moments(parts[static_cast<size_t>(i)]);
    block_mean[i] = moments.mean;
    block_m2[i] = moments.m2;
  }
  const std::string name = text_of("gated_moments<", kName<E>, "> ", in.shape, ", group_size ",
                                   in.group_size, in.gated ? "" : ", no gates");
  test_outputs(name, kernel, units, arguments, gates_naively(in.logits), block_mean, block_m2);
  CHECK(untouched_guards(in.mean, in.m2, in.logits), name);
}

template <typename E>
void test_merged_moments(const Device& device, const GroupShape& shape, int64_t group_size,
                         double centre, Random& random) {
  const int64_t blocks = blocks_of(shape), channels = shape.channels;
  Buffer<double> block_mean(blocks * channels), block_m2(blocks * channels);
  fill(block_mean, Values::any, random);
  fill(block_m2, Values::any, random);
  for (int64_t i = 0; i < block_mean.size(); ++i) {
    block_mean[i] += centre;
    block_m2[i] = std::fabs(block_m2[i]) * static_cast<double>(group_size);
  }
  std::vector<int64_t> groups(static_cast<size_t>(blocks));
  for_each_group({shape.outer, 1, shape.inner},
                 [&](int64_t block, int64_t, int64_t) { ++groups[static_cast<size_t>(block)]; });
  Output<E> mean(channels), var(channels);
  for (int64_t channel = 0; channel < channels; ++channel) {
    std::vector<Part> parts;
    for (int64_t block = 0; block < blocks; ++block)
      parts.push_back({static_cast<double>(groups[static_cast<size_t>(block)] * group_size),
                       block_mean[block * channels + channel],
                       block_m2[block * channels + channel]});
    const Moments moments(parts);
    mean[channel] = rounded_once_more<E>(moments.mean.value, moments.mean.allowed_error);
    var[channel] = rounded_once_more<E>(moments.m2.value / moments.elements,
                                        moments.m2.allowed_error / moments.elements);
  }
  const auto arguments = [&](Buffer<E>& to_mean, Buffer<E>& to_var) {
    return MergedMomentsArguments<E>{shape,           group_size,     block_mean.data(),
                                     block_m2.data(), to_mean.data(), to_var.data()};
  };
  const std::string name =
      text_of("merged_moments<", kName<E>, "> ", shape, ", group_size ", group_size);
  test_outputs(name, device.group_kernels<E>().merged_moments, column_units(channels), arguments,
               mean, var);
  CHECK(untouched_guards(block_mean, block_m2), name);
}

}  // namespace

void test_batch_norm(const Device& device) {
  Random random(9);
  for (const GroupShape& shape : group_shapes())
    for (const int64_t group_size : {1, 7, 49})
      for (const double centre : {0.0, 1000.0}) {
        const auto test = [&](auto element) {
          using E = decltype(element);
          for (const bool gated : {false, true})
            test_gated_moments<E>(device, {shape, group_size, gated, centre, random});
          test_merged_moments<E>(device, shape, group_size, centre, random);
        };
        test(float{});
        test(double{});
      }
}

}  // namespace stc::test
