// Vectors as wide as the registers of the LEVEL that a file is compiled for, and numbers in them.
//
// They are GCC's and Clang's portable extension: wider ones are split through memory, six times as
// slow.

#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifndef LEVEL
#define LEVEL base
#endif

#define SHOWN extern "C" __attribute__((visibility("default")))

// The library has `name`_LEVEL: where the function is.
#define JOIN_(name, level) name##_##level
#define JOIN(name, level) JOIN_(name, level)
#define EXPORT(name, ...) SHOWN void* const JOIN(name, LEVEL) = (void*)(__VA_ARGS__);

namespace {

template <class T> inline T min(T a, T b) { return b < a ? b : a; }  // of vectors lane by lane
template <class T> inline T max(T a, T b) { return a < b ? b : a; }
template <class T> inline void fill(T* to, int count, T value) {
  for (int i = 0; i < count; ++i) to[i] = value;
}
inline float floor(float x) { return __builtin_floorf(x); }
inline double floor(double x) { return __builtin_floor(x); }
inline float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }

struct bf16 {
  uint16_t bits;
};

inline float to_float(float x) { return x; }
inline double to_float(double x) { return x; }
inline float to_float(bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

inline void put(float& to, float x) { to = x; }
inline void put(double& to, double x) { to = x; }
inline void put(bf16& to, float x) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  to.bits = x == x ? uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) : uint16_t(0x7fc0);
}

template <class I> inline I lowest() { return I(-1e30f); }
template <> inline bf16 lowest<bf16>() { return bf16{0xf149}; }  // about -1e30

#if defined(__AVX512F__)
#define VECTOR 64
#elif defined(__AVX__)
#define VECTOR 32
#else
#define VECTOR 16
#endif

template <class R> struct Lanes {
  typedef R vector __attribute__((vector_size(VECTOR)));
  typedef typename std::conditional<sizeof(R) == 4, int32_t, int64_t>::type whole;
  typedef whole wholes __attribute__((vector_size(VECTOR)));
  static constexpr int count = VECTOR / sizeof(R);
};
typedef Lanes<float>::vector floats;
typedef uint32_t pairs __attribute__((vector_size(VECTOR)));  // of bfloat16

template <class R> inline typename Lanes<R>::vector load(const R* p) {
  typename Lanes<R>::vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline floats load(const bf16* p) {
  typedef uint16_t halves __attribute__((vector_size(VECTOR / 2)));
  halves upper;
  std::memcpy(&upper, p, sizeof upper);
  return (floats)(__builtin_convertvector(upper, pairs) << 16);
}
// The nearest bfloat16 of each lane, ties to even, in its upper half.
inline pairs rounded(floats x) { return (pairs)x + 0x7fff + (((pairs)x >> 16) & 1); }

template <class R> inline void store(R* p, typename Lanes<R>::vector v) { std::memcpy(p, &v, sizeof v); }
inline void store(bf16* p, floats v) {
  typedef uint16_t halves __attribute__((vector_size(VECTOR / 2)));
  const halves upper = __builtin_convertvector(rounded(v) >> 16, halves);
  std::memcpy(p, &upper, sizeof upper);
}

// Two vectors whose lanes alternate.
inline void store_pairs(bf16* p, floats first, floats second) {
  const pairs both = (rounded(first) >> 16) | (rounded(second) & 0xffff0000u);
  std::memcpy(p, &both, sizeof both);
}
inline void store_pairs(float* p, floats first, floats second) {
  for (int i = 0; i < Lanes<float>::count; ++i) {
    p[2 * i] = first[i];
    p[2 * i + 1] = second[i];
  }
}
inline void load_pairs(const bf16* p, floats& first, floats& second) {
  pairs both;
  std::memcpy(&both, p, sizeof both);
  first = (floats)(both << 16);
  second = (floats)(both & 0xffff0000u);
}
inline void load_pairs(const float* p, floats& first, floats& second) {
  for (int i = 0; i < Lanes<float>::count; ++i) {
    first[i] = p[2 * i];
    second[i] = p[2 * i + 1];
  }
}

// All lanes joined to one, half by half.
template <int BYTES = VECTOR, class V, class F> inline float fold(V v, F join) {
  if constexpr (BYTES == sizeof(float)) {
    return v[0];
  } else {
    typedef float half __attribute__((vector_size(BYTES / 2)));
    half lower, upper;
    std::memcpy(&lower, &v, sizeof lower);
    std::memcpy(&upper, (const char*)&v + sizeof lower, sizeof upper);
    const half both = join(lower, upper);
    return fold<BYTES / 2>(both, join);
  }
}
inline float sum_of(floats v) {
  return fold(v, [](auto a, auto b) { return a + b; });
}
inline float most_of(floats v) {
  return fold(v, [](auto a, auto b) { return max(a, b); });
}

// The largest whole number that is not above each lane.
template <class R>
inline typename Lanes<R>::vector floor(typename Lanes<R>::vector x, typename Lanes<R>::wholes& whole) {
  using vector = typename Lanes<R>::vector;
  using wholes = typename Lanes<R>::wholes;
  whole = __builtin_convertvector(x, wholes);
  whole += (wholes)(__builtin_convertvector(whole, vector) > x);
  return __builtin_convertvector(whole, vector);
}

// e^x to two units in the last place.
inline floats exponential(floats x) {
  x = min(max(x, floats{} - 87.0f), floats{} + 88.0f);
  Lanes<float>::wholes whole;
  const floats n = floor<float>(x * 1.44269504f + 0.5f, whole);
  const floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  floats p = floats{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (floats)((whole + 127) << 23);
}

}  // namespace
