// The heart of deformable attention: where the points of a query are, and the sum of what is there.

#pragma once

#include "vectors.h"

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

// One head of queries: softmax, places and the weighted sum of `value`. The rows of
// `offsets_and_weights` and of `out` lie `stride` and `out_stride` apart; in a row are offsets
// [M, L, K, 2] and then logits [M, L * K].
template <class V, class I, class O>
inline void attend_head(const Levels& at, const V* value, const I* offsets_and_weights, int64_t stride,
                        const float* reference, bool boxes, int64_t per_level, int64_t head,
                        int64_t heads, int64_t queries, int64_t width, O* out, int64_t out_stride) {
  const int points = at.points;
  Corners<float> corners[TOGETHER];
  I offset[2 * MAX_POINTS] = {}, logit[MAX_POINTS];
  fill(logit, MAX_POINTS, lowest<I>());
  for (int64_t q = 0; q < queries; q += TOGETHER) {
    const int many = min<int64_t>(TOGETHER, queries - q);
    for (int n = 0; n < many; ++n) {
      const I* offsets = offsets_and_weights + (q + n) * stride + head * 2 * points;
      const I* logits = offsets_and_weights + (q + n) * stride + (2 * heads + head) * points;
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
      corners[n].gather(points, value, width, out + (q + n) * out_stride + head * width);
  }
}

}  // namespace
