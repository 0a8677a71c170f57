// Vectors of the width that this translation unit is compiled for. Everything is in an anonymous
// namespace: the same header is compiled for several instruction sets, and none may leak into
// another.
#pragma once

#include <cstdint>
#include <type_traits>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "common/scalar.h"

namespace stc {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif

template <typename E, int Lanes>
struct VectorOf {
  typedef E type __attribute__((vector_size(Lanes * sizeof(E))));
};
template <typename E, int Lanes>
using Vector = typename VectorOf<E, Lanes>::type;

// Lanes of a full vector of what T is summed in.
template <typename T>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(Accumulate<T>));

template <int Lanes, typename E>
inline Vector<E, Lanes> load_raw(const E* from) {
  Vector<E, Lanes> v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <typename V, typename E>
inline void store_raw(E* to, V v) {
  __builtin_memcpy(to, &v, sizeof v);
}

template <typename To, typename From>
inline To bit_cast_vector(From v) {
  static_assert(sizeof(To) == sizeof(From), "same bits");
  To to;
  __builtin_memcpy(&to, &v, sizeof to);
  return to;
}

template <int Lanes, typename E>
inline Vector<E, Lanes> broadcast(E value) {
  // Unlike an added zero, a subtracted one keeps -0.
  return value - Vector<E, Lanes>{};
}

// Of a vector or a number.
template <typename V>
inline V finite_or_zero(V v) {
  return v - v == 0 ? v : V{};
}

template <int Lanes>
inline Vector<float, Lanes> widen_half(Vector<uint16_t, Lanes> half) {
#if defined(__F16C__)
  if constexpr (Lanes == 4) return (Vector<float, 4>)_mm_cvtph_ps(_mm_loadl_epi64((__m128i*)&half));
  if constexpr (Lanes == 8) return (Vector<float, 8>)_mm256_cvtph_ps((__m128i)half);
#endif
#if defined(__AVX512F__)
  if constexpr (Lanes == 16) return (Vector<float, 16>)_mm512_cvtph_ps((__m256i)half);
#endif
  using Bits = Vector<uint32_t, Lanes>;
  using Floats = Vector<float, Lanes>;
  const Bits bits = __builtin_convertvector(half, Bits);
  const Bits magnitude = bits & 0x7fffu;
  const Floats subnormal = __builtin_convertvector(magnitude, Floats) * 0x1p-24f;
  const Bits normal = (magnitude << 13) + (112u << 23);
  const Bits infinite = (magnitude << 13) | 0x7f800000u;
  const Bits finite = magnitude < 0x400u ? bit_cast_vector<Bits>(subnormal) : normal;
  const Bits unsigned_bits = magnitude >= 0x7c00u ? infinite : finite;
  return bit_cast_vector<Floats>(unsigned_bits | ((bits & 0x8000u) << 16));
}

template <int Lanes>
inline Vector<uint16_t, Lanes> narrow_to_half(Vector<float, Lanes> v) {
  using Narrow = Vector<uint16_t, Lanes>;
#if defined(__F16C__)
  if constexpr (Lanes == 8)
    return (Narrow)_mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
#if defined(__AVX512F__)
  if constexpr (Lanes == 16)
    return (Narrow)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
  using Bits = Vector<uint32_t, Lanes>;
  using Floats = Vector<float, Lanes>;
  const Bits bits = bit_cast_vector<Bits>(v);
  const Bits magnitude = bits & 0x7fffffffu;
  // Adding 0.5 leaves a multiple of 2^-24, half's smallest step, in the last bits: the addition
  // rounds.
  const Floats magic = bit_cast_vector<Floats>(magnitude) + 0.5f;
  const Bits subnormal = bit_cast_vector<Bits>(magic) - 0x3f000000u;
  const Bits normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const Bits finite = magnitude < 0x38800000u ? subnormal : normal;
  const Bits special =
      magnitude > 0x7f800000u ? broadcast<Lanes>(0x7e00u) : broadcast<Lanes>(0x7c00u);
  const Bits half = magnitude >= 0x47800000u ? special : finite;
  return __builtin_convertvector(half | ((bits >> 16) & 0x8000u), Narrow);
}

template <int Lanes>
inline Vector<uint16_t, Lanes> narrow_to_bfloat16(Vector<float, Lanes> v) {
  using Bits = Vector<uint32_t, Lanes>;
  const Bits bits = bit_cast_vector<Bits>(v);
  const Bits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const Bits quiet_nan = broadcast<Lanes>(0x7fc0u);
  return __builtin_convertvector(v == v ? rounded : quiet_nan, Vector<uint16_t, Lanes>);
}

// load: Lanes elements of T as a vector of the type that T is summed in. store: back, rounded to
// nearest even.
template <int Lanes, typename T>
inline Vector<Accumulate<T>, Lanes> load(const T* from) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const auto narrow = load_raw<Lanes>(&from->bits);
    using Bits = Vector<uint32_t, Lanes>;
    return bit_cast_vector<Vector<float, Lanes>>(__builtin_convertvector(narrow, Bits) << 16);
  } else if constexpr (std::is_same_v<T, Half>) {
    return widen_half<Lanes>(load_raw<Lanes>(&from->bits));
  } else {
    return load_raw<Lanes>(from);
  }
}

template <int Lanes, typename T>
inline void store(T* to, Vector<Accumulate<T>, Lanes> v) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    store_raw(&to->bits, narrow_to_bfloat16<Lanes>(v));
  } else if constexpr (std::is_same_v<T, Half>) {
    store_raw(&to->bits, narrow_to_half<Lanes>(v));
  } else {
    store_raw(to, v);
  }
}

template <int Lanes>
using LaneCount = std::integral_constant<int, Lanes>;

// Bodies are inlined into their loop: else each store could change the captured pointers, as far as
// the compiler knows, and all of them are loaded again after it.
#define STC_INLINE __attribute__((always_inline))

// body(LaneCount, i) for the rest of a run that is shorter than 2 * Lanes.
template <int Lanes, typename Body>
STC_INLINE inline void for_each_short_vector(int64_t i, int64_t size, const Body& body) {
  if (i + Lanes <= size) {
    body(LaneCount<Lanes>{}, i);
    i += Lanes;
  }
  if constexpr (Lanes > 1) for_each_short_vector<Lanes / 2>(i, size, body);
}

// body(LaneCount, i) over [0, size): full vectors first, then halved ones, so that no element is
// touched twice and none beyond the end.
template <int Lanes, typename Body>
STC_INLINE inline void for_each_vector(int64_t size, const Body& body) {
  int64_t i = 0;
  for (; i + Lanes <= size; i += Lanes) body(LaneCount<Lanes>{}, i);
  if constexpr (Lanes > 1) {
    if (i < size) for_each_short_vector<Lanes / 2>(i, size, body);
  }
}

// Unsigned integers that hold the bits of one element.
template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 2, uint16_t,
                                  std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;

template <typename T>
inline void copy_elements(T* to, const T* from, int64_t size) {
  auto* out = reinterpret_cast<BitsOf<T>*>(to);
  const auto* in = reinterpret_cast<const BitsOf<T>*>(from);
  for_each_vector<kVectorBytes / static_cast<int>(sizeof(T))>(
      size, [&](auto lanes, int64_t i) { store_raw(out + i, load_raw<lanes()>(in + i)); });
}

template <typename T>
inline void zero_elements(T* to, int64_t size) {
  auto* out = reinterpret_cast<BitsOf<T>*>(to);
  for_each_vector<kVectorBytes / static_cast<int>(sizeof(T))>(
      size, [&](auto lanes, int64_t i) { store_raw(out + i, Vector<BitsOf<T>, lanes()>{}); });
}

// Asks for what lies one page behind `from`. Processors prefetch within a page only, and loops over
// several distant streams wait for the address translation of each.
template <typename T>
inline void prefetch_page_ahead(const T* from, int64_t size) {
  constexpr int64_t kPage = 4096, kCacheLine = 64;
  const char* ahead = reinterpret_cast<const char*>(from) + kPage;
  const int64_t bytes = size * static_cast<int64_t>(sizeof(T));
  for (int64_t byte = 0; byte < bytes; byte += kCacheLine) __builtin_prefetch(ahead + byte);
}

template <int Lanes, typename E>
inline E sum_of_lanes(Vector<E, Lanes> v) {
  if constexpr (Lanes == 1) {
    return v[0];
  } else {
    Vector<E, Lanes / 2> low, high;
    __builtin_memcpy(&low, &v, sizeof low);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return sum_of_lanes<Lanes / 2, E>(low + high);
  }
}

}  // namespace
}  // namespace stc
