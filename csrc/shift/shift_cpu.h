#pragma once

#include "common/vector.h"
#include "shift/shift.h"

namespace stc {
namespace {

template <typename T>
inline void copy_or_zero(T* to, const T* from, int64_t size) {
  constexpr int kWidest = kVectorBytes / static_cast<int>(sizeof(T));
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t,
                                  std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
  auto* out = reinterpret_cast<Bits*>(to);
  const auto* in = reinterpret_cast<const Bits*>(from);
  if (in == nullptr) {
    for_each_vector<kWidest>(
        size, [&](auto lanes, int64_t i) { store_raw(out + i, Vector<Bits, lanes()>{}); });
  } else {
    for_each_vector<kWidest>(
        size, [&](auto lanes, int64_t i) { store_raw(out + i, load_raw<lanes()>(in + i)); });
  }
}

// Copies the slots [begin, end), a run of channels with one source at a time.
template <typename T>
void shift_forward(const ShiftArguments<T>& a, int64_t begin, int64_t end) {
  const int64_t frame_slots = a.frame_slots();
  int64_t channel = begin % a.channels;
  for (int64_t slot = begin; slot < end;) {
    const int64_t time = slot / frame_slots % a.num_segments;
    const int64_t frame_end = (slot / frame_slots + 1) * frame_slots;
    const int64_t stop = frame_end < end ? frame_end : end;
    const auto source_step = [&](int64_t steps) {
      return time + steps >= 0 && time + steps < a.num_segments ? steps : INT64_MIN;
    };
    const int64_t group_end[3] = {a.fold, 2 * a.fold, a.channels};
    const int64_t group_step[3] = {source_step(a.direction), source_step(-a.direction), 0};
    while (slot < stop) {
      const int group = channel < a.fold ? 0 : channel < 2 * a.fold ? 1 : 2;
      const int64_t run =
          group_end[group] - channel < stop - slot ? group_end[group] - channel : stop - slot;
      const int64_t step = group_step[group];
      const T* from = step == INT64_MIN ? nullptr : a.in + (slot + step * frame_slots) * a.inner;
      copy_or_zero(a.out + slot * a.inner, from, run * a.inner);
      slot += run;
      channel = channel + run == a.channels ? 0 : channel + run;
    }
  }
}

}  // namespace
}  // namespace stc
