// The test harness: CHECK counts, and prints what fails.
#pragma once

#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>

namespace stc::test {

struct Tally {
  int64_t passed = 0;
  int64_t failed = 0;
};
inline Tally tally;

template <typename... Details>
void check(const char* file, int line, const char* condition, bool holds,
           const Details&... details) {
  ++(holds ? tally.passed : tally.failed);
  if (holds) return;
  std::cout << file << ':' << line << ": " << condition;
  ((std::cout << " | " << details), ...);
  std::cout << std::endl;
}

template <typename... Details>
std::string text_of(const Details&... details) {
  std::ostringstream text;
  (text << ... << details);
  return text.str();
}

}  // namespace stc::test

// CHECK(condition, what was tested and the values that it failed with...)
#define CHECK(condition, ...) \
  ::stc::test::check(__FILE__, __LINE__, #condition, condition, __VA_ARGS__)
