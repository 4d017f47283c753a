// The inner loops of deformable attention and of the layer around it; hatch_build.py compiles them,
// kernels.py calls them. Without a compiler PyTorch's own operations do the same.
//
// Unusual here: the file is compiled once per LEVEL of the processor's instructions, and the
// functions of all levels lie in one library, with the level at the end of their names. Everything
// else must be local to its level (a template of the standard library would be shared, with the
// instructions of any of them), so small functions of <algorithm> and <cmath> are written anew.
// Vectors are GCC's and Clang's portable extension, as wide as the registers of the level: wider ones
// are split through memory, six times as slow. Threads are OpenMP's, and the library is linked without
// OpenMP's own, so that the pool is the one PyTorch has brought.

#include <cstdint>
#include <cstring>
#include <type_traits>

#ifndef LEVEL
#define LEVEL base
#endif

namespace {

constexpr int MAX_POINTS = 64;  // of a head: levels times points per level; as in kernels.py
constexpr int GROUP = 16;       // points that are placed together; MAX_POINTS is a multiple
constexpr int IN_ORDER = 16;    // points of a head that `sample` adds up in PyTorch's order
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool QUICK_FMA = true;
#else
constexpr bool QUICK_FMA = false;  // a call each: then `sample` adds up as it likes
#endif
constexpr int BLOCK = 256;      // queries that attend to one head in turn: its values stay cached
constexpr int TOGETHER = 8;     // of these, whose points are placed before any of them is gathered
constexpr int MIN_PARALLEL = 1 << 15;  // samples below which waking threads costs more than it saves

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

// The feature levels, repeated for each point of a head. Loops over points go in steps of GROUP, so
// that they become whole vectors; the points that fill up the last step have no weight.
struct Levels {
  int points, padded;  // points of all levels together
  int32_t stride;      // of values, from one token to the next
  int32_t height[MAX_POINTS], width[MAX_POINTS], start[MAX_POINTS];

  Levels(int64_t levels, int64_t per_level, const int64_t* shapes, int64_t stride)
      : points(levels * per_level), padded((points + GROUP - 1) / GROUP * GROUP), stride(stride) {
    fill(height, MAX_POINTS, 1);
    fill(width, MAX_POINTS, 1);
    fill(start, MAX_POINTS, 0);
    int64_t first = 0;
    for (int level = 0; level < levels; ++level) {
      for (int k = level * per_level; k < (level + 1) * per_level; ++k) {
        height[k] = shapes[2 * level];
        width[k] = shapes[2 * level + 1];
        start[k] = first;
      }
      first += shapes[2 * level] * shapes[2 * level + 1];
    }
  }

  template <class R> static inline typename Lanes<R>::wholes load(const int32_t* p) {
    typedef int32_t narrow __attribute__((vector_size(4 * Lanes<R>::count)));
    narrow v;
    std::memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, typename Lanes<R>::wholes);
  }
};

// The four pixels around each point of a head: where their values begin, and what of each counts. A
// pixel outside the map counts nothing and is replaced by one of the border.
template <class R> struct Corners {
  using vector = typename Lanes<R>::vector;
  using wholes = typename Lanes<R>::wholes;
  alignas(64) typename Lanes<R>::whole place_of[4][MAX_POINTS];
  alignas(64) R share[4][MAX_POINTS];

  // Of a vector of points, the first of them `from`: (x, y) in pixels, the first centre at 0.
  inline void place(const Levels& at, int from, vector x, vector y, vector weight) {
    const wholes w = at.load<R>(at.width + from), h = at.load<R>(at.height + from);
    const vector wide = __builtin_convertvector(w, vector), high = __builtin_convertvector(h, vector);
    const vector none = {};
    const wholes near = (x > -1) & (y > -1) & (x < wide) & (y < high);
    x = near ? x : none;
    y = near ? y : none;
    weight = near ? weight : none;
    wholes x0, y0;
    const vector fx = x - floor<R>(x, x0), fy = y - floor<R>(y, y0);
    const vector west = x0 >= 0 ? 1 - fx : none, east = x0 + 1 < w ? fx : none;
    const vector north = (y0 >= 0 ? 1 - fy : none) * weight, south = (y0 + 1 < h ? fy : none) * weight;
    const wholes xa = max(x0, wholes{}), xb = min(x0 + 1, w - 1);
    const wholes start = at.load<R>(at.start + from);
    const wholes above = start + max(y0, wholes{}) * w, under = start + min(y0 + 1, h - 1) * w;
    keep(0, from, (above + xa) * at.stride, west * north);
    keep(1, from, (above + xb) * at.stride, east * north);
    keep(2, from, (under + xa) * at.stride, west * south);
    keep(3, from, (under + xb) * at.stride, east * south);
  }

  inline void keep(int corner, int from, wholes places, vector shares) {
    std::memcpy(place_of[corner] + from, &places, sizeof places);
    store(share[corner] + from, shares);
  }

  // N vectors of channels of the weighted sum; four sums side by side, for an addition takes time.
  template <int N, class V, class O>
  inline void sum(int points, const V* value, O* out) const {
    constexpr int count = Lanes<R>::count;
    vector total[4][N] = {};
    for (int i = 0; i < points; ++i)
      for (int c = 0; c < 4; ++c) {
        const V* from = value + place_of[c][i];
        for (int n = 0; n < N; ++n) total[c][n] += share[c][i] * load(from + n * count);
      }
    for (int n = 0; n < N; ++n) {
      const vector all = (total[0][n] + total[1][n]) + (total[2][n] + total[3][n]);
      store(out + n * count, all);
    }
  }

  // Two vectors of bfloat16 channels: two of them share a lane, which a shift and a mask take apart.
  template <class O>
  inline void sum_pairs(int points, const bf16* value, O* out) const {
    floats even[4] = {}, odd[4] = {};
    for (int i = 0; i < points; ++i)
      for (int c = 0; c < 4; ++c) {
        floats first, second;
        load_pairs(value + place_of[c][i], first, second);
        even[c] += share[c][i] * first;
        odd[c] += share[c][i] * second;
      }
    const floats first = (even[0] + even[1]) + (even[2] + even[3]);
    const floats second = (odd[0] + odd[1]) + (odd[2] + odd[3]);
    store_pairs(out, first, second);
  }

  // IN_ORDER points, added up as sampling.plain does, to the last bit: the pixels of a point one after
  // the other, times its weight; points eight apart first. Every product is a fused one, so that no
  // compiler joins it with another sum; adding -0 changes nothing. `share` is without weights.
  void gather_in_order(const R* weights, const R* value, int width, R* out) const {
    for (int d = 0; d < width; ++d) out[d] = 0;
    for (int i = 0; i < IN_ORDER / 2; ++i) {
      const int j = i + IN_ORDER / 2;
#pragma omp simd
      for (int d = 0; d < width; ++d)
        out[d] += weighted(i, weights[i], value + d) + weighted(j, weights[j], value + d);
    }
  }

  inline R weighted(int i, R weight, const R* value) const {
    R sum = fma(share[0][i], value[place_of[0][i]], R(-0.0));
    for (int c = 1; c < 4; ++c) sum = fma(share[c][i], value[place_of[c][i]], sum);
    return fma(sum, weight, R(-0.0));
  }

  template <class V, class O>
  inline void gather(int points, const V* value, int width, O* out) const {
    constexpr int count = Lanes<R>::count;
    int d = 0;
    for (; d + 2 * count <= width; d += 2 * count)
      if constexpr (std::is_same<V, bf16>::value)
        sum_pairs(points, value + d, out + d);
      else
        sum<2>(points, value + d, out + d);
    for (; d + count <= width; d += count) sum<1>(points, value + d, out + d);
    for (; d < width; ++d) {
      R total = 0;
      for (int i = 0; i < points; ++i)
        for (int c = 0; c < 4; ++c)
          total += share[c][i] * to_float(value[place_of[c][i] + d]);
      put(out[d], total);
    }
  }
};

// sampling.sample: value [B, S, M, D], locations [B, Q, M, L, K, 2] and weights [B, Q, M, L, K] to
// out [B, Q, M * D].
template <class V, class R>
void sample(const V* value, const R* locations, const R* weights, R* out, int64_t batch,
            int64_t tokens, int64_t queries, int64_t heads, int64_t width, int64_t levels,
            int64_t per_level, const int64_t* shapes, int threads) {
  const Levels at(levels, per_level, shapes, heads * width);
  const int points = at.points;
#pragma omp parallel for num_threads(threads) if (batch * queries * heads * points > MIN_PARALLEL)
  for (int64_t row = 0; row < batch * queries; ++row) {
    const V* image = value + row / queries * tokens * heads * width;
    Corners<R> corners;
    R x[MAX_POINTS] = {}, y[MAX_POINTS] = {}, weight[MAX_POINTS] = {};
    for (int64_t m = 0; m < heads; ++m) {
      const R* place = locations + (row * heads + m) * points * 2;
      const R* given = weights + (row * heads + m) * points;
      R* to = out + (row * heads + m) * width;
      const bool in_order = QUICK_FMA && std::is_same<V, R>::value && points == IN_ORDER;
      for (int i = 0; i < points; ++i) {  // by way of [-1, 1], as in `grid_sample`
        x[i] = fma((2 * place[2 * i] - 1) + 1, R(at.width[i]) / 2, R(-0.5));
        y[i] = fma((2 * place[2 * i + 1] - 1) + 1, R(at.height[i]) / 2, R(-0.5));
        weight[i] = in_order ? R(1) : given[i];
      }
      for (int i = 0; i < at.padded; i += Lanes<R>::count)
        corners.place(at, i, load(x + i), load(y + i), load(weight + i));
      if constexpr (std::is_same<V, R>::value)
        if (in_order) {
          corners.gather_in_order(given, image + m * width, width, to);
          continue;
        }
      corners.gather(points, image + m * width, width, to);
    }
  }
}

// Gradients of `sample`; `to_value` is added to, the others are written. A thread has a head of an
// image for itself, so that no two write the same row.
template <class R>
void sample_backward(const R* value, const R* locations, const R* weights, const R* grad,
                     R* to_value, R* to_locations, R* to_weights, int64_t batch, int64_t tokens,
                     int64_t queries, int64_t heads, int64_t width, int64_t levels, int64_t per_level,
                     const int64_t* shapes, int threads) {
  const int64_t stride = heads * width;
  const Levels at(levels, per_level, shapes, stride);
  const int points = at.points;
#pragma omp parallel for num_threads(threads) if (batch * queries * heads * points > MIN_PARALLEL)
  for (int64_t job = 0; job < batch * heads; ++job) {
    const int64_t b = job / heads, m = job % heads;
    const R* image = value + b * tokens * stride + m * width;
    R* to_image = to_value + b * tokens * stride + m * width;
    for (int64_t q = 0; q < queries; ++q) {
      const int64_t row = (b * queries + q) * heads + m;
      const R* g = grad + row * width;
      for (int i = 0; i < points; ++i) {
        const int64_t sample = row * points + i;
        const int32_t w = at.width[i], h = at.height[i];
        const R x = locations[2 * sample] * R(w) - R(0.5), y = locations[2 * sample + 1] * R(h) - R(0.5);
        to_locations[2 * sample] = to_locations[2 * sample + 1] = to_weights[sample] = 0;
        if (!(x > -1 && y > -1 && x < R(w) && y < R(h))) continue;
        const R left = floor(x), top = floor(y), fx = x - left, fy = y - top;
        const int32_t x0 = int32_t(left), y0 = int32_t(top);
        const R near[4] = {(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy};
        R dot[4] = {0, 0, 0, 0};
        for (int c = 0; c < 4; ++c) {
          const int32_t column = x0 + (c & 1), line = y0 + (c >> 1);
          if (column < 0 || column >= w || line < 0 || line >= h) continue;
          const int64_t place = (at.start[i] + int64_t(line) * w + column) * stride;
          const R share = near[c] * weights[sample];
          R sum = 0;
#pragma omp simd reduction(+ : sum)
          for (int64_t d = 0; d < width; ++d) {
            sum += g[d] * image[place + d];
            to_image[place + d] += share * g[d];
          }
          dot[c] = sum;
        }
        to_weights[sample] = near[0] * dot[0] + near[1] * dot[1] + near[2] * dot[2] + near[3] * dot[3];
        const R across = (1 - fy) * (dot[1] - dot[0]) + fy * (dot[3] - dot[2]);
        const R down = (1 - fx) * (dot[2] - dot[0]) + fx * (dot[3] - dot[1]);
        to_locations[2 * sample] = weights[sample] * R(w) * across;
        to_locations[2 * sample + 1] = weights[sample] * R(h) * down;
      }
    }
  }
}

// Softmax and places of one query in one head, from its offsets [L * K, 2] and logits [L * K].
template <class I>
inline void place_query(const Levels& at, const I* offsets, const I* logits, const float* box,
                        bool boxes, int64_t per_level, Corners<float>& corners) {
  constexpr int count = Lanes<float>::count;
  alignas(VECTOR) float weight[MAX_POINTS];
  floats most = load(logits), total = {};
  for (int i = count; i < at.padded; i += count) most = max(most, load(logits + i));
  const float highest = most_of(most);
  for (int i = 0; i < at.padded; i += count) {
    const floats power = exponential(load(logits + i) - highest);
    store(weight + i, power);
    total += power;
  }
  const float share = 1.0f / sum_of(total);
  const float reach_x = boxes ? box[2] * (0.5f / per_level) : 0.0f;
  const float reach_y = boxes ? box[3] * (0.5f / per_level) : 0.0f;
  for (int i = 0; i < at.padded; i += count) {
    const floats w = __builtin_convertvector(at.load<float>(at.width + i), floats);
    const floats h = __builtin_convertvector(at.load<float>(at.height + i), floats);
    floats x, y;
    load_pairs(offsets + 2 * i, x, y);
    if (boxes) {
      x *= reach_x * w;
      y *= reach_y * h;
    }
    corners.place(at, i, x + (box[0] * w - 0.5f), y + (box[1] * h - 0.5f), load(weight + i) * share);
  }
}

// Softmax, places and `sample` in one pass. Of `value` [S, M, D] the strides of tokens and heads are
// given. `offsets_and_weights` [Q, 3 * M * L * K] is what the linear layers make of the queries:
// offsets [M, L, K, 2], then logits [M, L * K]. `reference` [Q, 2] are points (x, y) or, when `boxes`,
// [Q, 4] cxcywh, in [0, 1] of the image. An offset is in pixels of its level, or in half boxes,
// shared among the points.
template <class V, class I, class O>
void attend(const V* value, int64_t token_stride, int64_t head_stride, const I* offsets_and_weights,
            const float* reference, O* out, int64_t queries, int64_t heads, int64_t width,
            int64_t levels, int64_t per_level, const int64_t* shapes, int boxes, int threads) {
  const Levels at(levels, per_level, shapes, token_stride);
  const int points = at.points;
  const int64_t jobs = (queries + BLOCK - 1) / BLOCK * heads;
#pragma omp parallel for num_threads(threads) if (queries * heads * points > MIN_PARALLEL)
  for (int64_t job = 0; job < jobs; ++job) {
    const int64_t m = job % heads, first = job / heads * BLOCK;
    const int64_t last = min(first + BLOCK, queries);
    Corners<float> corners[TOGETHER];
    I offset[2 * MAX_POINTS] = {}, logit[MAX_POINTS];
    fill(logit, MAX_POINTS, lowest<I>());
    for (int64_t q = first; q < last; q += TOGETHER) {
      const int many = min<int64_t>(TOGETHER, last - q);
      for (int n = 0; n < many; ++n) {
        const I* offsets = offsets_and_weights + (q + n) * 3 * heads * points + m * 2 * points;
        const I* logits = offsets_and_weights + ((q + n) * 3 + 2) * heads * points + m * points;
        if (points != at.padded) {
          std::memcpy(offset, offsets, 2 * points * sizeof(I));
          std::memcpy(logit, logits, points * sizeof(I));
          offsets = offset;
          logits = logit;
        }
        const float* box = reference + (q + n) * (boxes ? 4 : 2);
        place_query(at, offsets, logits, box, boxes, per_level, corners[n]);
      }
      for (int n = 0; n < many; ++n)
        corners[n].gather(points, value + m * head_stride, width, out + ((q + n) * heads + m) * width);
    }
  }
}

// x + y, normalised over the channels: to `out` (may be x), and where wanted to `copy` and, with
// the position added, to `with_position`, both of the kind that matrix products take.
template <class V>
void add_norm(const float* x, const V* y, const float* gain, const float* bias, float eps,
              float* out, V* copy, const float* position, V* with_position, int64_t rows,
              int64_t width, int threads) {
#pragma omp parallel for num_threads(threads) if (rows * width > MIN_PARALLEL)
  for (int64_t row = 0; row < rows; ++row) {
    const float* a = x + row * width;
    const V* b = y + row * width;
    float* to = out + row * width;
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < width; ++d) {
      to[d] = a[d] + to_float(b[d]);
      sum += to[d];
    }
    const float mean = sum / width;
#pragma omp simd reduction(+ : squares)
    for (int64_t d = 0; d < width; ++d) squares += (to[d] - mean) * (to[d] - mean);
    const float scale = 1.0f / __builtin_sqrtf(squares / width + eps);
    for (int64_t d = 0; d < width; ++d) to[d] = (to[d] - mean) * scale * gain[d] + bias[d];
    if (copy)
      for (int64_t d = 0; d < width; ++d) put(copy[row * width + d], to[d]);
    if (with_position)
      for (int64_t d = 0; d < width; ++d)
        put(with_position[row * width + d], to[d] + position[row * width + d]);
  }
}

}  // namespace

#define JOIN_(name, level) name##_##level
#define JOIN(name, level) JOIN_(name, level)
#define EXPORT(name) extern "C" __attribute__((visibility("default"))) void JOIN(name, LEVEL)

#define SIZES int64_t batch, int64_t tokens, int64_t queries, int64_t heads, int64_t width, \
              int64_t levels, int64_t per_level, const int64_t* shapes, int threads
#define SIZE_NAMES batch, tokens, queries, heads, width, levels, per_level, shapes, threads

#define SAMPLE(name, V, R)                                                                      \
  EXPORT(sample_##name)(const V* value, const R* locations, const R* weights, R* out, SIZES) {  \
    sample(value, locations, weights, out, SIZE_NAMES);                                         \
  }
#define BACKWARD(name, R)                                                                       \
  EXPORT(backward_##name)(const R* value, const R* locations, const R* weights, const R* grad,  \
                          R* to_value, R* to_locations, R* to_weights, SIZES) {                 \
    sample_backward(value, locations, weights, grad, to_value, to_locations, to_weights,        \
                    SIZE_NAMES);                                                                \
  }
#define ATTEND(name, V, I, O)                                                                   \
  EXPORT(attend_##name)(const V* value, int64_t token_stride, int64_t head_stride,              \
                        const I* offsets_and_weights, const float* reference, O* out,           \
                        int64_t queries, int64_t heads, int64_t width, int64_t levels,          \
                        int64_t per_level, const int64_t* shapes, int boxes, int threads) {     \
    attend(value, token_stride, head_stride, offsets_and_weights, reference, out, queries,      \
           heads, width, levels, per_level, shapes, boxes, threads);                            \
  }
#define ADD_NORM(name, V)                                                                       \
  EXPORT(add_norm_##name)(const float* x, const V* y, const float* gain, const float* bias,     \
                          float eps, float* out, V* copy, const float* position,                \
                          V* with_position, int64_t rows, int64_t width, int threads) {         \
    add_norm(x, y, gain, bias, eps, out, copy, position, with_position, rows, width, threads);  \
  }

SAMPLE(f32, float, float)
SAMPLE(f64, double, double)
SAMPLE(bf16, bf16, float)
BACKWARD(f32, float)
BACKWARD(f64, double)
ATTEND(f32, float, float, float)
ATTEND(bf16, bf16, bf16, bf16)
ATTEND(mixed, bf16, float, float)
ADD_NORM(f32, float)
ADD_NORM(bf16, bf16)

#ifdef COMMON  // of all levels, compiled with the lowest one

// Which levels this processor, and the system on it, can run: 0 base, 1 also avx2, 2 also avx512.
extern "C" __attribute__((visibility("default"))) int highest_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") ? 2 : 1;
#else
  return 0;
#endif
}

// Changes when functions take other arguments; as in kernels.py.
extern "C" __attribute__((visibility("default"))) int interface() { return 2; }

// Whether OpenMP distributes the work among threads.
extern "C" __attribute__((visibility("default"))) int has_threads() {
#ifdef _OPENMP
  return 1;
#else
  return 0;
#endif
}

#endif
