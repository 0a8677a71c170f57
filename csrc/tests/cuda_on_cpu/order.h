// The order in which threads and blocks are run. A right kernel gives the same results in each.
// STC_EMULATED_ORDER: forward (the default), reverse, or the seed of a random one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_on_cpu/sanitizers.h"

namespace stc::emulated {

class Order {
 public:
  STC_UNSANITIZED void read_environment() {
    const char* wanted = std::getenv("STC_EMULATED_ORDER");
    kind_ = !wanted || std::strcmp(wanted, "forward") == 0 ? Kind::forward
            : std::strcmp(wanted, "reverse") == 0          ? Kind::reverse
                                                           : Kind::random;
    const uint64_t seed = kind_ == Kind::random ? std::strtoull(wanted, nullptr, 10) : 0;
    random_state_ = 0x9E3779B97F4A7C15u * (2 * seed + 1);  // odd, so never 0
    shuffle();
    first_block_ = below(1u << 30);
  }

  STC_UNSANITIZED uint32_t below(uint32_t end) {
    random_state_ ^= random_state_ << 13;
    random_state_ ^= random_state_ >> 7;
    random_state_ ^= random_state_ << 17;
    return static_cast<uint32_t>((random_state_ >> 32) % end);
  }

  // Another random order of threads.
  STC_UNSANITIZED void shuffle() {
    rotation_ = below(1024);
    flips_ = below(1024);
  }

  // The thread to be made ready after `already` others of `count`: the last one of them runs first.
  STC_UNSANITIZED int next(int already, int count) const {
    if (kind_ == Kind::forward) return count - 1 - already;
    if (kind_ == Kind::reverse) return already;
    const bool power_of_two = (count & (count - 1)) == 0;
    const int flips = power_of_two ? static_cast<int>(flips_) & (count - 1) : 0;
    return (already + static_cast<int>(rotation_)) % count ^ flips;
  }

  // Which of `num_ready` threads runs next. Most often the last to become ready, so that one warp
  // gets far ahead of the others: that is what a missing barrier does not survive.
  STC_UNSANITIZED int pick(int num_ready) {
    const bool any = kind_ == Kind::random && below(64) == 0;
    return any ? static_cast<int>(below(static_cast<uint32_t>(num_ready))) : num_ready - 1;
  }

  STC_UNSANITIZED uint64_t block(uint64_t already, uint64_t num_blocks) const {
    if (kind_ == Kind::forward) return already;
    if (kind_ == Kind::reverse) return num_blocks - 1 - already;
    return (already + first_block_) % num_blocks;
  }

 private:
  enum class Kind { forward, reverse, random };
  Kind kind_ = Kind::forward;
  uint64_t random_state_ = 1;
  uint32_t rotation_ = 0;
  uint32_t flips_ = 0;
  uint64_t first_block_ = 0;
};

inline Order order;

}  // namespace stc::emulated
