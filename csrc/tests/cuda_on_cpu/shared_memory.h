// Shared memory of the block that runs. It begins as bytes of ones, NaN for each type of floats, so
// that what is read before it was written shows up in the result. Around each array there are
// guards, which the address sanitizer forbids to touch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/cuda_on_cpu/fibers.h"
#include "tests/cuda_on_cpu/report.h"

namespace stc::emulated {

constexpr size_t kMaxSharedBytes = 227 * 1024;  // of compute capability 9.0

class SharedMemory {
 public:
  STC_UNSANITIZED void begin_launch(size_t dynamic_bytes) {
    if (!all_arenas_) arena_ = all_arenas_ = reserve_memory(kNumArenas * kArenaBytes);
    dynamic_bytes_ = dynamic_bytes;
  }

  // Fills the dynamic array; the static ones are made when a thread gets to them.
  STC_UNSANITIZED void begin_block() {
    num_arrays_ = 0;
    forbid_memory(arena_, kArenaBytes);
    allow_memory(dynamic_array(), dynamic_bytes_);
    fill(dynamic_array(), dynamic_bytes_);
    end_ = kGuardBytes + dynamic_bytes_;
  }

  // The next block then has memory of its own. False where it is one that was used before: all that
  // did so must have come before.
  STC_UNSANITIZED bool use_next_arena() {
    arena_index_ = (arena_index_ + 1) % kNumArenas;
    arena_ = all_arenas_ + arena_index_ * kArenaBytes;
    return arena_index_ != 0;
  }

  STC_UNSANITIZED char* dynamic_array() const { return arena_ + kGuardBytes; }

  // The same memory for each thread of the block that comes to the declaration that `site` is of.
  STC_UNSANITIZED char* static_array(const void* site, size_t bytes) {
    for (int i = 0; i < num_arrays_; ++i)
      if (arrays_[i].site == site) return arena_ + arrays_[i].offset;
    const size_t offset = (end_ + kGuardBytes + 15) / 16 * 16;
    if (offset + bytes + kGuardBytes > kArenaBytes || num_arrays_ == kMaxArrays) {
      report("too much shared memory");
      std::abort();
    }
    allow_memory(arena_ + offset, bytes);
    fill(arena_ + offset, bytes);
    arrays_[num_arrays_++] = {site, offset};
    end_ = offset + bytes;
    return arena_ + offset;
  }

 private:
  static constexpr size_t kGuardBytes = 128;
  static constexpr int kMaxArrays = 63;
  static constexpr size_t kArenaBytes = kMaxSharedBytes + (kMaxArrays + 1) * kGuardBytes;
  static constexpr size_t kNumArenas = kFindsRaces ? 512 : 1;

  struct StaticArray {
    const void* site;
    size_t offset;
  };

  // memset() is watched by the sanitizers, and plain loops are made into calls of it.
  STC_UNSANITIZED static void fill(char* memory, size_t bytes) {
    volatile char* byte = memory;
    for (size_t i = 0; i < bytes; ++i) byte[i] = static_cast<char>(0xff);
  }

  char* all_arenas_;
  char* arena_;
  size_t arena_index_;
  size_t dynamic_bytes_;
  size_t end_;
  StaticArray arrays_[kMaxArrays];
  int num_arrays_;
};

inline SharedMemory shared_memory;

template <typename T, size_t N>
using Array = T[N];

template <typename T, size_t N>
Array<T, N>& shared_array(const void* site) {
  return *reinterpret_cast<Array<T, N>*>(shared_memory.static_array(site, sizeof(T) * N));
}

template <typename T>
T* dynamic_shared_array() {
  return reinterpret_cast<T*>(shared_memory.dynamic_array());
}

}  // namespace stc::emulated
