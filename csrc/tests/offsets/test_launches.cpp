#include <string>
#include <tuple>

#include "tests/check.h"
#include "tests/device.h"
#include "tests/frames.h"
#include "tests/offsets/tests.h"

namespace stc::test {
namespace {

using T = float;
using Floats = Buffer<float>;

// Tensors of so many elements have narrow offsets, and of so many more wide ones.
const int64_t kNarrow = cuda::largest_narrow_tensor();
constexpr int64_t kBeyond = cuda::kLargestNarrowOffset;

struct Inputs {
  Floats large, small;

  Inputs() : large(2 * kBeyond), small(2 * kBeyond) {
    Random random(8);
    for (Floats* buffer : {&large, &small}) fill(*buffer, Values::any, random);
  }
};

// Checks a kernel against itself with 64-bit offsets. arguments_for binds it to its outputs.
template <typename Arguments, typename Bind, typename... Sizes>
void check_offsets(const std::string& name, const CudaKernel<Arguments>& kernel,
                   const Bind& arguments_for, Sizes... sizes) {
  std::tuple<decltype(Floats(sizes))...> chosen(sizes...), wide(sizes...);
  std::apply([&](auto&... out) { run_kernel(kernel, arguments_for(out...), 1); }, chosen);
  cuda::largest_narrow_tensor() = 0;
  std::apply([&](auto&... out) { run_kernel(kernel, arguments_for(out...), 1); }, wide);
  cuda::largest_narrow_tensor() = kNarrow;
  std::apply(
      [&](auto&... mine) {
        std::apply(
            [&](auto&... other) {
              CHECK((mine.same_bytes(other) && ...), name);
              CHECK((mine.guards_are_untouched() && ...), name);
            },
            wide);
      },
      chosen);
}

// Two branches of which each has narrow offsets, and the concatenation has not.
void test_refine_launches(const Inputs& in, bool channels_last, bool gated) {
  constexpr int64_t kHalf = 40;
  const FrameShape shape{1, 2, 2 * kHalf, 16, 16, channels_last};
  const int64_t of_branch = shape.elements() / 2;
  const int64_t groups[2] = {shape.frames() * kHalf,
                             gated ? of_branch / 2 : shape.frames() * kHalf};
  CHECK(of_branch <= kNarrow && shape.elements() > kBeyond, shape);
  RefineArguments<T> a{};
  a.shape = shape;
  a.scale = a.shift = in.small.data();
  for (const int64_t i : {0, 1})
    a.branches[i] = {i * kHalf,      kHalf, gated, gated && i == 1, in.large.data() + i * of_branch,
                     in.small.data()};
  RefineBackwardArguments<T> b{};
  b.grad_out = in.large.data();
  b.slope = b.offset = in.small.data();
  const auto backward = [&](Floats& first, Floats& second) {
    b.forward = a;
    b.branches[0] = {in.small.data(), first.data(), in.small.data(), 1, first.data()};
    b.branches[1] = {in.small.data(), second.data(), in.small.data(), 1, second.data()};
    return b;
  };
  const auto forward = [&](Floats& out) {
    a.out = out.data();
    return a;
  };
  const std::string name = text_of(shape, gated ? ", gated" : ", not gated");
  check_offsets<RefineArguments<T>>("refine_forward " + name,
                                    cuda::Mapping<cuda::RefineJobs<cuda::RefineJob>>{}, forward,
                                    shape.elements());
  check_offsets<RefineBackwardArguments<T>>(
      "refine_backward_sums " + name, cuda::Reduction<cuda::RefineJobs<cuda::RefineSumsJob>>{},
      backward, 2 * groups[0], 2 * groups[1]);
  check_offsets<RefineBackwardArguments<T>>(
      "refine_backward " + name, cuda::Mapping<cuda::RefineJobs<cuda::RefineBackwardJob>>{},
      backward, of_branch, of_branch);
}

// Two sums for each element of a branch that has narrow offsets, for groups are single elements.
void test_refine_sums_of_single_elements(const Inputs& in) {
  const FrameShape shape{1, 1, 80, 16, 16, true};
  CHECK(shape.elements() <= kNarrow && 2 * shape.elements() > kBeyond, shape);
  RefineBackwardArguments<T> b{};
  b.forward.shape = shape;
  b.forward.branches[1] = {0, shape.channels, true, true, in.large.data(), in.small.data()};
  b.forward.scale = b.forward.shift = in.small.data();
  b.grad_out = in.large.data();
  b.branches[1].mean = in.small.data();
  const auto arguments = [&](Floats& sums) {
    b.branches[1].sums = sums.data();
    return b;
  };
  check_offsets<RefineBackwardArguments<T>>(
      "refine_backward_sums of one segment",
      cuda::Reduction<cuda::RefineJobs<cuda::RefineSumsJob>>{}, arguments, 2 * shape.elements());
}

// Two sums for each channel of a frame, which is a single pixel.
void test_sums_of_single_pixels(const Inputs& in) {
  const FrameShape shape{80, 1, 256, 1, 1, false};
  CHECK(shape.elements() <= kNarrow && 2 * shape.elements() > kBeyond, shape);
  ShiftSplitBackwardArguments<T> split{};
  split.forward = {shape,           8,       128,    16, 1, in.large.data(), in.small.data(),
                   in.small.data(), nullptr, nullptr};
  split.grad_spatial = split.grad_temporal = in.large.data();
  split.mean = in.small.data();
  const auto split_arguments = [&](Floats& sums) {
    split.sums = sums.data();
    return split;
  };
  check_offsets<ShiftSplitBackwardArguments<T>>(
      "shift_split_backward_sums", cuda::Reduction<cuda::SplitJobs<cuda::SplitSumsJob>>{},
      split_arguments, 2 * shape.elements());
  ResidualBackwardArguments<T> residual{};
  residual.forward.shape = shape;
  residual.forward.w = residual.forward.identity = residual.grad_out = in.large.data();
  residual.forward.out = const_cast<T*>(in.large.data());
  residual.mean = in.small.data();
  const auto residual_arguments = [&](Floats& sums, Floats& grad_identity) {
    residual.sums = sums.data();
    residual.grad_identity = grad_identity.data();
    return residual;
  };
  check_offsets<ResidualBackwardArguments<T>>(
      "residual_backward_sums", cuda::Reduction<cuda::ResidualJobs<cuda::ResidualSumsJob>>{},
      residual_arguments, 2 * shape.elements(), shape.elements());
}

void test_means_of_nothing() {
  const View view{2 * kBeyond, 0, 1};
  const auto arguments = [&](Floats& mean) {
    return MeanArguments<T>{view, mean.data(), mean.data()};
  };
  check_offsets<MeanArguments<T>>("mean_forward of empty planes",
                                  cuda::Reduction<cuda::JobOfView<cuda::MeanJob<T>>>{}, arguments,
                                  view.groups());
}

}  // namespace

void test_launches() {
  elements_off_alignment_of_buffers = 0;  // what is taken by vectors
  const Inputs in;
  for (const bool channels_last : {false, true})
    for (const bool gated : {false, true}) test_refine_launches(in, channels_last, gated);
  test_refine_sums_of_single_elements(in);
  test_sums_of_single_pixels(in);
  test_means_of_nothing();
}

}  // namespace stc::test
