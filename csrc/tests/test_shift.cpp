#include "tests/check.h"
#include "tests/device.h"
#include "tests/tests.h"

namespace stc::test {
namespace {

// ShiftArguments without the memory.
struct ShiftCase {
  int64_t clips;
  int64_t num_segments;
  int64_t rows;
  int64_t channels;
  int64_t inner;
  int64_t fold;
  int64_t direction;
};

std::ostream& operator<<(std::ostream& out, const ShiftCase& c) {
  return out << "(clips " << c.clips << ", num_segments " << c.num_segments << ", rows " << c.rows
             << ", channels " << c.channels << ", inner " << c.inner << ", fold " << c.fold
             << ", direction " << c.direction << ')';
}

std::vector<ShiftCase> shift_cases() {
  std::vector<ShiftCase> cases;
  for (const int64_t direction : {1, -1}) {
    for (const int64_t num_segments : {1, 2, 3, 8}) {
      for (const int64_t channels : {1, 2, 5, 16, 37, 64}) {
        for (const int64_t fold : {int64_t{0}, channels / 8, channels / 4, channels / 2}) {
          cases.push_back({2, num_segments, 6, channels, 1, fold, direction});
          cases.push_back({2, num_segments, 1, channels, 35, fold, direction});
        }
      }
    }
    // Runs of elements with every remainder of vectors.
    for (int64_t inner = 1; inner <= 70; ++inner)
      cases.push_back({1, 3, 1, 4, inner, 1, direction});
    cases.push_back({1, 3, 2, 6, 1031, 2, direction});
    cases.push_back({1, 4, 300, 40, 1, 5, direction});
    // Several blocks of a CUDA device per frame.
    cases.push_back({1, 4, 1, 32, 196, 4, direction});
    cases.push_back({1, 4, 196, 32, 1, 5, direction});
    // Further than a clip is long.
    cases.push_back({2, 3, 2, 8, 5, 2, 3 * direction});
    cases.push_back({2, 5, 2, 8, 5, 2, 2 * direction});
    cases.push_back({0, 3, 2, 8, 5, 2, direction});
    cases.push_back({2, 3, 0, 8, 5, 2, direction});
    cases.push_back({2, 3, 2, 8, 0, 2, direction});
  }
  return cases;
}

template <typename T>
void shift_naively(const ShiftCase& c, const Buffer<T>& in, Buffer<T>& out) {
  const auto index = [&](int64_t clip, int64_t time, int64_t row, int64_t channel, int64_t i) {
    return (((clip * c.num_segments + time) * c.rows + row) * c.channels + channel) * c.inner + i;
  };
  for (int64_t clip = 0; clip < c.clips; ++clip)
    for (int64_t time = 0; time < c.num_segments; ++time)
      for (int64_t row = 0; row < c.rows; ++row)
        for (int64_t channel = 0; channel < c.channels; ++channel)
          for (int64_t i = 0; i < c.inner; ++i) {
            int64_t source = time;
            if (channel < c.fold)
              source += c.direction;
            else if (channel < 2 * c.fold)
              source -= c.direction;
            T* to = out.data() + index(clip, time, row, channel, i);
            if (source < 0 || source >= c.num_segments)
              *to = T{};
            else
              std::memcpy(to, &in[index(clip, source, row, channel, i)], sizeof(T));
          }
}

template <typename T>
void test_shift_case(const Device& device, const ShiftCase& c, Random& random) {
  const int64_t size = c.clips * c.num_segments * c.rows * c.channels * c.inner;
  Buffer<T> in(size);
  // Any bits: NaN must be copied as they are.
  auto* bytes = reinterpret_cast<unsigned char*>(in.data());
  std::generate_n(bytes, size * static_cast<int64_t>(sizeof(T)), std::ref(random));
  Buffer<T> expected(size);
  shift_naively(c, in, expected);

  const auto kernel = device.kernels<T>().shift_forward;
  const auto arguments = [&](Buffer<T>& out) {
    return ShiftArguments<T>{in.data(),      out.data(), c.clips * c.num_segments,
                             c.num_segments, c.rows,     c.channels,
                             c.inner,        c.fold,     c.direction};
  };
  Buffer<T> out(size);
  const int64_t units = arguments(out).units();
  run_kernel(kernel, arguments(out), units);
  const std::string name = text_of("shift_forward<", kName<T>, "> ", c);
  CHECK(out.same_bytes(expected), name);
  CHECK(out.guards_are_untouched() && in.guards_are_untouched(), name);
  check_repeatable(name, kernel, units, arguments, out);
}

}  // namespace

void test_shift(const Device& device) {
  Random random(1);
  for_each_element_type([&](auto element) {
    for (const ShiftCase& c : shift_cases()) test_shift_case<decltype(element)>(device, c, random);
  });
}

}  // namespace stc::test
