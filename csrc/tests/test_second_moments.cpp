#include "tests/check.h"
#include "tests/outputs.h"
#include "tests/tests.h"
#include "tests/views.h"

namespace stc::test {
namespace {

// Around what the values lie, and how far from it.
struct Spread {
  double centre;
  double width;
};

// The mean costs an algorithm that is not centred more digits than float has. At 1000, elements of
// the 16-bit types are 4 or 1/2 apart.
template <typename T>
constexpr Spread kLargeMean = {1000, std::is_same_v<T, BFloat16> ? 64.0
                                     : std::is_same_v<T, Half>   ? 8.0
                                                                 : 0.25};

std::ostream& operator<<(std::ostream& out, const Spread& spread) {
  return out << spread.centre << " +- " << spread.width;
}

template <typename T>
void fill_around(Buffer<T>& frames, const Spread& spread, Random& random) {
  for (int64_t i = 0; i < frames.size(); ++i)
    frames[i] = from_double<T>(spread.centre + uniform(random, spread.width));
}

std::vector<View> moment_views() {
  std::vector<View> all;
  // Moments of nothing are undefined.
  for (const View& view : Device::views())
    if (view.reduced > 0) all.push_back(view);
  // Planes: as much as is read twice at a time, and more.
  for (const int64_t reduced : {4095, 4096, 4097, 9001}) all.push_back({2, reduced, 1});
  // Rows: as many as are summed up before they are merged, and more; also several of them merged.
  for (const int64_t reduced : {511, 512, 513, 519, 520, 521, 1033})
    all.push_back({1, reduced, 130});
  for (const int64_t reduced : {512, 513, 520})
    if (2 * 128 * reduced < Device::kMostElements) all.push_back({1, 128 * reduced + 5, 2});
  // Tiles of rows that are wider than they are.
  for (const int64_t reduced : {15, 16, 65, 200}) all.push_back({1, reduced, 300});
  return all;
}

// Of one column.
template <typename T>
struct Column {
  long double mean = 0;
  long double m2 = 0;
  double largest = 0;   // magnitude of an element
  double furthest = 0;  // distance from the mean

  Column(const View& view, const Buffer<T>& frames, int64_t outer, int64_t inner) {
    const auto element = [&](int64_t r) {
      return to_double(frames[(outer * view.reduced + r) * view.inner + inner]);
    };
    for (int64_t r = 0; r < view.reduced; ++r) {
      mean += element(r);
      largest = std::max(largest, std::fabs(element(r)));
    }
    mean /= static_cast<long double>(view.reduced);
    for (int64_t r = 0; r < view.reduced; ++r) {
      const long double deviation = element(r) - mean;
      m2 += deviation * deviation;
      furthest = std::max(furthest, static_cast<double>(std::fabs(deviation)));
    }
  }
};

// How often numbers as large as the elements are rounded on the way to a mean: in the sum of a
// piece of a plane (up to 32 blocks, of 16 vectors in each chain, and what does not fill a vector)
// or of eight rows, and once where means are merged: of pieces, of blocks of rows, and of rows that
// were merged to one.
double roundings_of_mean(const View& view) {
  const int64_t merges =
      view.inner == 1 ? view.reduced / 4096
                      : view.reduced / 512 + kMinTileWidth / std::max<int64_t>(view.inner, 1);
  return static_cast<double>((view.inner == 1 ? 64 : 12) + merges);
}

// Additions to the longest sum of deviations or their squares.
double longest_sum(const View& view) { return 128 + static_cast<double>(view.reduced) / 8; }

// With unit roundoff u, elements up to M and deviations up to D from the mean, each mean on the way
// is off by no more than e = u * roundings_of_mean * M, but for the sums of deviations, up to 2 * D
// from where they are counted, that are added to it: 2 * D * u * longest_sum.
//
// m2 is a sum over n elements of squares of distances between such means, or between elements and
// one. A distance, up to 2 * D, is off by 2 * e, so its square by less than 8 * e * D + 4 * e^2;
// and sums of squares up to 4 * D^2 are rounded longest_sum times, and subtracted from each other.
// The mean's own square is in none of this: M * D, not M^2.
template <typename T>
double allowed_error_of_mean(const View& view, const Column<T>& column) {
  constexpr double kRoundoff = kUnitRoundoff<Accumulate<T>>;
  return kRoundoff *
         (roundings_of_mean(view) * column.largest + 2 * longest_sum(view) * column.furthest);
}

template <typename T>
double allowed_error_of_m2(const View& view, const Column<T>& column) {
  constexpr double kRoundoff = kUnitRoundoff<Accumulate<T>>;
  const double mean_error = kRoundoff * roundings_of_mean(view) * column.largest;
  return static_cast<double>(view.reduced) *
         (8 * mean_error * (column.furthest + mean_error) +
          8 * kRoundoff * longest_sum(view) * column.furthest * column.furthest);
}

template <typename T>
void test_view(const Device& device, const View& view, const Spread& spread, Random& random) {
  using E = Accumulate<T>;
  Buffer<T> frames(view.size());
  fill_around(frames, spread, random);
  Output<E> mean(view.outer * view.inner), m2(mean.size());
  for (int64_t outer = 0; outer < view.outer; ++outer)
    for (int64_t i = 0; i < view.inner; ++i) {
      const Column<T> column(view, frames, outer, i);
      mean[outer * view.inner + i] = {static_cast<double>(column.mean),
                                      allowed_error_of_mean(view, column)};
      m2[outer * view.inner + i] = {static_cast<double>(column.m2),
                                    allowed_error_of_m2(view, column)};
    }
  const auto arguments = [&](Buffer<E>& to_mean, Buffer<E>& to_m2) {
    return MomentsArguments<T>{view, frames.data(), to_mean.data(), to_m2.data()};
  };
  const std::string name = text_of("moments_forward<", kName<T>, "> ", view, " of ", spread);
  const auto kernel = device.kernels<T>().moments_forward;
  test_outputs(name, kernel, view_units(view), arguments, mean, m2);
  CHECK(frames.guards_are_untouched(), name);

  Buffer<E> again(mean.size()), squares(m2.size());
  run_kernel(kernel, arguments(again, squares), view_units(view));
  const bool negative = std::any_of(squares.data(), squares.data() + squares.size(),
                                    [](E value) { return value < 0; });
  CHECK(!negative, name);
}

}  // namespace

void test_second_moments(const Device& device) {
  Random random(8);
  for_each_element_type([&](auto element) {
    using T = decltype(element);
    // All the same: whatever the errors are, there must be no negative variance.
    constexpr Spread kAllTheSame{1000.0 / 3, 0};
    for (const View& view : moment_views())
      for (const Spread& spread : {Spread{0, 2}, kLargeMean<T>, kAllTheSame})
        if (Device::takes(view.size())) test_view<T>(device, view, spread, random);
  });
}

}  // namespace stc::test
