#include <map>
#include <string>

#include "tests/check.h"
#include "tests/offsets/tests.h"

namespace stc::test {
namespace {

constexpr int64_t kGibi = int64_t{1} << 30;

// Adds what is chosen for each launch of a kernel.
template <typename Jobs, typename Arguments>
int64_t largest_of_jobs(const Arguments& arguments) {
  int64_t largest = 0;
  Jobs::for_each(arguments, [&](const auto& job, const View& view) {
    largest = std::max(largest, cuda::largest_tensor_of(job, view));
  });
  return largest;
}

RefineArguments<float> refine_arguments(const FrameShape& shape, int64_t first_channels,
                                        bool gated_per_pixel) {
  RefineArguments<float> a{};
  a.shape = shape;
  a.branches[0].channels = first_channels;
  a.branches[1].first_channel = first_channels;
  a.branches[1].channels = shape.channels - first_channels;
  a.branches[1].gated = a.branches[1].gated_per_pixel = gated_per_pixel;
  return a;
}

// Either branch is below 2^31 elements, and the concatenation is not.
void test_refine_sizes() {
  for (const bool channels_last : {false, true})
    for (const bool per_pixel : {false, true}) {
      const auto a = refine_arguments({16, 8, 256, 256, 256, channels_last}, 128, per_pixel);
      RefineBackwardArguments<float> b{};
      b.forward = a;
      CHECK(largest_of_jobs<cuda::RefineJobs<cuda::RefineJob>>(a) == 2 * kGibi, per_pixel);
      CHECK(largest_of_jobs<cuda::RefineJobs<cuda::RefineSumsJob>>(b) == 2 * kGibi, per_pixel);
      CHECK(largest_of_jobs<cuda::RefineJobs<cuda::RefineBackwardJob>>(b) == 2 * kGibi, per_pixel);
    }
}

// Where a group is one element, there are two sums for each.
void test_sizes_of_sums() {
  RefineBackwardArguments<float> b{};
  b.forward = refine_arguments({64, 1, 256, 256, 256, true}, 0, true);
  CHECK(largest_of_jobs<cuda::RefineJobs<cuda::RefineSumsJob>>(b) == 2 * kGibi, "one segment");
  b.forward = refine_arguments({kGibi / 256, 1, 256, 1, 1, false}, 0, false);
  CHECK(largest_of_jobs<cuda::RefineJobs<cuda::RefineSumsJob>>(b) == 2 * kGibi, "one pixel");

  const FrameShape one_pixel{kGibi / 256, 1, 256, 1, 1, false};
  ShiftSplitBackwardArguments<float> split{};
  split.forward.shape = one_pixel;
  split.forward.stride = 1;
  CHECK(largest_of_jobs<cuda::SplitJobs<cuda::SplitSumsJob>>(split) == 2 * kGibi, "split");
  ResidualBackwardArguments<float> residual{};
  residual.forward.shape = one_pixel;
  CHECK(largest_of_jobs<cuda::ResidualJobs<cuda::ResidualSumsJob>>(residual) == 2 * kGibi, "one");
  const float scale = 1;
  residual.forward.identity_scale = &scale;
  CHECK(largest_of_jobs<cuda::ResidualJobs<cuda::ResidualSumsJob>>(residual) == 3 * kGibi, "two");
}

// Means of nothing are as many as groups.
void test_sizes_of_views() {
  const View empty{3 * kGibi, 0, 1};
  CHECK(largest_of_jobs<cuda::JobOfView<cuda::MeanJob<float>>>(
            MeanArguments<float>{empty, nullptr, nullptr}) == 3 * kGibi,
        "empty view");
  const View view{4, kGibi, 1};
  CHECK(largest_of_jobs<cuda::JobOfView<cuda::GateJob<float>>>(
            GateArguments<float>{view, nullptr, nullptr, nullptr}) == 4 * kGibi,
        "gate");
}

// A scratch is as many arrays as a job has sums.
void test_sizes_of_scratch() {
  const View view{1, kGibi, 2};
  const cuda::MomentsJob<float> job{{}, {view, nullptr, nullptr, nullptr}};
  const cuda::ToScratch<cuda::MomentsJob<float>> first{job, nullptr, 2 * kGibi, kGibi, 2};
  CHECK(cuda::largest_tensor_of(first, view) == 4 * kGibi, "first pass");
  const cuda::FromScratch<cuda::MomentsJob<float>> second{{}, job, nullptr, 2 * kGibi, kGibi, 1};
  CHECK(cuda::largest_tensor_of(second, {1, kGibi, 2}) == 4 * kGibi, "second pass");
}

void test_sizes_of_groups() {
  ChannelSumsArguments<float> sums{};
  sums.shape = {1, kGibi, 1};
  CHECK(largest_of_jobs<cuda::JobOfGroups<cuda::ChannelSumsJob>>(sums) == 2 * kGibi, "sums");
  SumRowsArguments<float> rows{3, kGibi, nullptr, nullptr};
  CHECK(largest_of_jobs<cuda::SumRowsJob<float>>(rows) == 3 * kGibi, "rows");
}

}  // namespace

void test_sizes() {
  test_refine_sizes();
  test_sizes_of_sums();
  test_sizes_of_views();
  test_sizes_of_scratch();
  test_sizes_of_groups();
  CHECK(cuda::grid_of(7).x == 7, "grid");
  CHECK(cuda::grid_of(int64_t{1} << 32).x == ~0u, "grid");
}

}  // namespace stc::test
