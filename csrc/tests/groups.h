// What batch norm keeps per group of elements, in the shapes that take every path of its kernels.
#pragma once

#include <ostream>
#include <vector>

#include "batch_norm/batch_norm.h"
#include "tests/buffer.h"

namespace stc {

inline std::ostream& operator<<(std::ostream& out, const GroupShape& shape) {
  return out << "(outer " << shape.outer << ", channels " << shape.channels << ", inner "
             << shape.inner << ')';
}

}  // namespace stc

namespace stc::test {
inline std::vector<GroupShape> group_shapes() {
  std::vector<GroupShape> shapes;
  for (int64_t size = 1; size <= 20; ++size) {
    shapes.push_back({3, size, 1});
    shapes.push_back({2, 3, size + 1});
  }
  for (const int64_t size : {31, 33, 63, 64, 65, 127, 128, 129, 200}) {
    shapes.push_back({5, size, 1});
    shapes.push_back({size, 5, 1});
    shapes.push_back({size, 1, 1});
    shapes.push_back({size, 2, 3});
    shapes.push_back({2, size, 3});
    shapes.push_back({2, 3, size});
  }
  shapes.push_back({130, 70, 1});
  return shapes;
}

inline int64_t block_of(const GroupShape& shape, int64_t outer) {
  return shape.inner > 1 ? outer : outer / kGroupsPerBlock;
}

inline int64_t most_groups_in_block(const GroupShape& shape) {
  return shape.inner > 1 ? shape.inner : kGroupsPerBlock;
}

// body(block, channel, offset of the group)
template <typename Body>
void for_each_group(const GroupShape& shape, const Body& body) {
  for (int64_t outer = 0; outer < shape.outer; ++outer)
    for (int64_t channel = 0; channel < shape.channels; ++channel)
      for (int64_t i = 0; i < shape.inner; ++i)
        body(block_of(shape, outer), channel, (outer * shape.channels + channel) * shape.inner + i);
}

// What was summed up in doubles as an element of E.
template <typename E>
Expected rounded_once_more(double value, double allowed_error) {
  const double last = 1.01 * kUnitRoundoff<E> * (std::fabs(value) + allowed_error);
  return {value, allowed_error + last + smallest_step<E>()};
}

}  // namespace stc::test
