#include "tests/check.h"
#include "tests/frames.h"
#include "tests/outputs.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

enum class Gates { none, per_frame, per_pixel };

std::ostream& operator<<(std::ostream& out, Gates gates) {
  return out << (gates == Gates::none        ? "none"
                 : gates == Gates::per_frame ? "per frame"
                                             : "per pixel");
}

struct RefineCase {
  FrameShape shape;
  int64_t first_channels;  // of the first branch
  Gates gates[2];
};

std::ostream& operator<<(std::ostream& out, const RefineCase& c) {
  return out << c.shape << ", first_channels " << c.first_channels << ", gates " << c.gates[0]
             << " and " << c.gates[1];
}

std::vector<RefineCase> refine_cases() {
  constexpr Gates kAll[] = {Gates::none, Gates::per_frame, Gates::per_pixel};
  std::vector<RefineCase> cases;
  for (const FrameShape& shape : frame_shapes()) {
    cases.push_back({shape, shape.channels / 2, {Gates::per_frame, Gates::per_pixel}});
    const size_t other = cases.size() % 9;
    cases.push_back(
        {shape, shape.channels - shape.channels / 3, {kAll[other / 3], kAll[other % 3]}});
  }
  for (const FrameShape& shape : few_frame_shapes())
    for (const int64_t first_channels :
         {int64_t{0}, int64_t{1}, shape.channels / 2, shape.channels - 1, shape.channels})
      for (const Gates first : kAll)
        for (const Gates second : kAll) {
          // A branch that is absent has no gates.
          if (first_channels == 0 && first != Gates::none) continue;
          if (first_channels == shape.channels && second != Gates::none) continue;
          cases.push_back({shape, first_channels, {first, second}});
        }
  return cases;
}

// One branch, and what is kept per group of its elements.
template <typename T>
struct Branch {
  using E = Accumulate<T>;

  FrameShape shape;
  int64_t first_channel;
  Gates gates;
  E share;
  int64_t groups;
  Buffer<T> y;
  Buffer<E> gate, mean, grad_mean;

  Branch(const FrameShape& all, int64_t first, int64_t channels, Gates kind, E of_group)
      : shape(with_channels(all, channels)),
        first_channel(first),
        gates(kind),
        share(of_group),
        groups((kind == Gates::per_pixel ? shape.clips * shape.pixels() : shape.frames()) *
               channels),
        y(shape.elements()),
        gate(is_gated() ? groups : 0),
        mean(gate.size()),
        grad_mean(gate.size()) {}

  bool is_gated() const { return gates != Gates::none; }

  int64_t group_of(int64_t frame, int64_t channel, int64_t pixel) const {
    return gates == Gates::per_pixel ? offset_of(shape, frame / shape.num_segments, channel, pixel)
                                     : frame * shape.channels + channel;
  }

  void fill_all(Values values, Random& random) {
    fill(y, values, random);
    for (Buffer<E>* of_groups : {&gate, &mean, &grad_mean}) fill(*of_groups, values, random);
  }

  RefineBranch<T> forward() const {
    return {first_channel, shape.channels,
            is_gated(),    gates == Gates::per_pixel,
            y.data(),      is_gated() ? gate.data() : nullptr};
  }

  bool guards_are_untouched() const { return untouched_guards(y, gate, mean, grad_mean); }
};

template <typename T>
struct RefineInputs {
  using E = Accumulate<T>;

  RefineCase c;
  Values values;
  Branch<T> branches[2];
  Buffer<T> grad_out;
  Buffer<E> scale, shift, mean, slope, offset;

  RefineInputs(const RefineCase& refine_case, Values filled_with, Random& random)
      : c(refine_case),
        values(filled_with),
        branches{Branch<T>(c.shape, 0, c.first_channels, c.gates[0], static_cast<E>(0.25)),
                 Branch<T>(c.shape, c.first_channels, c.shape.channels - c.first_channels,
                           c.gates[1], static_cast<E>(0.0625))},
        grad_out(c.shape.elements()),
        scale(c.shape.channels),
        shift(c.shape.channels),
        mean(c.shape.channels),
        slope(c.shape.channels),
        offset(c.shape.channels) {
    fill(grad_out, values, random);
    for (Buffer<E>* of_channels : {&scale, &mean, &slope, &offset})
      fill(*of_channels, values, random);
    fill_shifts(shift, values, random);
    for (Branch<T>& branch : branches) {
      branch.fill_all(values, random);
      for_each_element(branch.shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
        const int64_t among_all = branch.first_channel + channel;
        keep_from_zero(branch.y[offset_of(branch.shape, frame, channel, pixel)],
                       gate_of(branch, frame, channel, pixel) * scale[among_all], shift[among_all],
                       values);
      });
    }
  }

  double gate_of(const Branch<T>& branch, int64_t frame, int64_t channel, int64_t pixel) const {
    return branch.is_gated() ? branch.gate[branch.group_of(frame, channel, pixel)] : 1;
  }

  RefineArguments<T> forward() const {
    return {c.shape,
            {branches[0].forward(), branches[1].forward()},
            scale.data(),
            shift.data(),
            nullptr};
  }
  RefineBackwardArguments<T> backward() const {
    const auto of_branch = [&](const Branch<T>& branch) {
      return RefineBranchBackward<T>{branch.is_gated() ? branch.mean.data() : mean.data(), nullptr,
                                     branch.is_gated() ? branch.grad_mean.data() : nullptr,
                                     branch.share, nullptr};
    };
    return {forward(),
            {of_branch(branches[0]), of_branch(branches[1])},
            grad_out.data(),
            slope.data(),
            offset.data()};
  }

  bool guards_are_untouched() const {
    return branches[0].guards_are_untouched() && branches[1].guards_are_untouched() &&
           untouched_guards(grad_out, scale, shift, mean, slope, offset);
  }
};

// One element, and all that belongs to it.
struct Element {
  int64_t at;         // in its branch
  int64_t at_in_all;  // in the concatenation
  int64_t group;
  double y, grad_out, gate, mean, grad_mean, scale, shift, slope, offset;

  // What the ReLU is applied to, and the gradient of what it let pass.
  double affine() const { return gate * scale * y + shift; }
  double gradient() const { return affine() > 0 ? grad_out : 0; }
};

// body(element, pixel)
template <typename T, typename Body>
void for_each_element_of(const RefineInputs<T>& in, const Branch<T>& branch, const Body& body) {
  for_each_element(branch.shape, [&](int64_t frame, int64_t channel, int64_t pixel) {
    const int64_t at = offset_of(branch.shape, frame, channel, pixel);
    const int64_t among_all = branch.first_channel + channel;
    const int64_t at_in_all = offset_of(in.c.shape, frame, among_all, pixel);
    const int64_t group = branch.group_of(frame, channel, pixel);
    const double mean = branch.is_gated() ? branch.mean[group] : in.mean[among_all];
    const double grad_mean = branch.is_gated() ? branch.grad_mean[group] : 0;
    body(Element{at, at_in_all, group, to_double(branch.y[at]), to_double(in.grad_out[at_in_all]),
                 in.gate_of(branch, frame, channel, pixel), mean, grad_mean, in.scale[among_all],
                 in.shift[among_all], in.slope[among_all], in.offset[among_all]},
         pixel);
  });
}

template <typename T>
void test_forward(const Device& device, const std::string& name, const RefineInputs<T>& in) {
  Output<T> out(in.c.shape.elements());
  for (const Branch<T>& branch : in.branches)
    for_each_element_of(in, branch, [&](const Element& e, int64_t) {
      const Sum sum{relu(e.affine()), std::fabs(e.gate * e.scale * e.y) + std::fabs(e.shift)};
      out[e.at_in_all] = rounded<T>(sum, in.values, 3);
    });
  const auto arguments = [&](Buffer<T>& to) {
    RefineArguments<T> a = in.forward();
    a.out = to.data();
    return a;
  };
  test_outputs("refine_forward" + name, device.kernels<T>().refine_forward, units_of(in.c.shape),
               arguments, out);
}

// (2, groups) per pixel, and (sets, 2, groups) per frame.
template <typename T>
Output<Accumulate<T>> sums_naively(const RefineInputs<T>& in, const Branch<T>& branch) {
  const bool per_pixel = branch.gates == Gates::per_pixel;
  const FrameShape& shape = in.c.shape;
  FrameShape one_clip = shape;
  one_clip.clips = 1;
  const SumRows sets = Device::rows_of_sums(one_clip);
  const int64_t size = (per_pixel ? 1 : sets.rows()) * 2 * branch.groups;
  std::vector<Sum> sums(static_cast<size_t>(size));
  for_each_element_of(in, branch, [&](const Element& e, int64_t pixel) {
    const int64_t set = per_pixel ? 0 : sets.row_of(0, pixel);
    const int64_t to = set * 2 * branch.groups + e.group;
    sums[static_cast<size_t>(to)].add(e.gradient());
    sums[static_cast<size_t>(to + branch.groups)].add(e.gradient() * (e.y - e.mean));
  });
  Output<Accumulate<T>> expected(size);
  const auto terms = static_cast<double>(per_pixel ? shape.num_segments : shape.pixels());
  for (int64_t i = 0; i < size; ++i)
    expected[i] = rounded<Accumulate<T>>(sums[static_cast<size_t>(i)], in.values, terms + 2);
  return expected;
}

template <typename T>
void test_backward_sums(const Device& device, const std::string& name, const RefineInputs<T>& in) {
  using Sums = Buffer<Accumulate<T>>;
  const auto arguments = [&](Sums& first, Sums& second) {
    RefineBackwardArguments<T> b = in.backward();
    b.branches[0].sums = first.data();
    b.branches[1].sums = second.data();
    return b;
  };
  test_outputs("refine_backward_sums" + name, device.kernels<T>().refine_backward_sums,
               units_of(in.c.shape), arguments, sums_naively(in, in.branches[0]),
               sums_naively(in, in.branches[1]));
}

template <typename T>
Output<T> gradient_naively(const RefineInputs<T>& in, const Branch<T>& branch) {
  Output<T> grad_y(branch.shape.elements());
  for_each_element_of(in, branch, [&](const Element& e, int64_t) {
    Sum sum;
    sum.add(e.gate * e.scale * e.gradient());
    sum.add(e.gate * e.gate * e.slope * e.y);
    sum.add(e.gate * e.offset);
    sum.add(branch.share * e.grad_mean);
    grad_y[e.at] = rounded<T>(sum, in.values, 5);
  });
  return grad_y;
}

template <typename T>
void test_backward(const Device& device, const std::string& name, const RefineInputs<T>& in) {
  const auto arguments = [&](Buffer<T>& first, Buffer<T>& second) {
    RefineBackwardArguments<T> b = in.backward();
    b.branches[0].grad_y = first.data();
    b.branches[1].grad_y = second.data();
    return b;
  };
  test_outputs("refine_backward" + name, device.kernels<T>().refine_backward, units_of(in.c.shape),
               arguments, gradient_naively(in, in.branches[0]),
               gradient_naively(in, in.branches[1]));
}

template <typename T>
void test_refine_case(const Device& device, const RefineCase& c, Values values, Random& random) {
  RefineInputs<T> in(c, values, random);
  const std::string name = text_of('<', kName<T>, "> ", c, " of ", values);
  test_backward_sums(device, name, in);
  test_backward(device, name, in);
  // NaN stays NaN.
  if (values == Values::any)
    for (Branch<T>& branch : in.branches)
      if (branch.y.size() > 0) branch.y[branch.y.size() / 2] = from_double<T>(NAN);
  test_forward(device, name, in);
  CHECK(in.guards_are_untouched(), name);
}

}  // namespace

void test_refine(const Device& device) {
  Random random(6);
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    for (const RefineCase& c : refine_cases()) {
      test_refine_case<T>(device, c, Values::sixteenths, random);
      test_refine_case<T>(device, c, Values::any, random);
    }
  });
}

}  // namespace stc::test
