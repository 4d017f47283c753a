// The inner loops of deformable attention and of what is around it; hatch_build.py compiles them,
// kernels.py calls them. Without a compiler PyTorch's own operations do the same.
//
// Unusual here: the file is compiled once per LEVEL of the processor's instructions, and the
// functions of all levels lie in one library, with the level at the end of their names. Everything
// else must be local to its level (a template of the standard library would be shared, with the
// instructions of any of them), so small functions of <algorithm> and <cmath> are written anew.
// Threads are OpenMP's, and the library is linked without OpenMP's own, so that the pool is the one
// PyTorch has brought.

#include "attention.h"

namespace {

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

// Softmax, places and `sample` in one pass. Of `value` [S, M, D] the strides of tokens and heads are
// given. `offsets_and_weights` [Q, 3 * M * L * K] is what the linear layers make of the queries.
// `reference` [Q, 2] are points (x, y) or, when `boxes`, [Q, 4] cxcywh, in [0, 1] of the image. An
// offset is in pixels of its level, or in half boxes, shared among the points.
template <class V, class I, class O>
void attend(const V* value, int64_t token_stride, int64_t head_stride, const I* offsets_and_weights,
            const float* reference, O* out, int64_t queries, int64_t heads, int64_t width,
            int64_t levels, int64_t per_level, const int64_t* shapes, int boxes, int threads) {
  const Levels at(levels, per_level, shapes, token_stride);
  const int64_t stride = 3 * heads * at.points, out_stride = heads * width;
  const int64_t jobs = (queries + BLOCK - 1) / BLOCK * heads;
#pragma omp parallel for num_threads(threads) if (queries * heads * at.points > MIN_PARALLEL)
  for (int64_t job = 0; job < jobs; ++job) {
    const int64_t m = job % heads, first = job / heads * BLOCK;
    attend_head(at, value + m * head_stride, offsets_and_weights + first * stride, stride,
                reference + first * (boxes ? 4 : 2), boxes, per_level, m, heads,
                min<int64_t>(BLOCK, queries - first), width, out + first * out_stride, out_stride);
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

// The largest of 3 x 3 pixels around every second one of each line: of x [B, H, W, C] to `out`
// [B, h, w, C]. Around the image there is nothing.
template <class V>
void max_pool(const V* x, V* out, int64_t batch, int64_t height, int64_t width, int64_t channels,
              int threads) {
  constexpr int count = Lanes<float>::count;
  const int64_t lines = (height + 1) / 2, columns = (width + 1) / 2, whole = channels / count * count;
#pragma omp parallel for num_threads(threads) if (batch * height * width * channels > MIN_PARALLEL)
  for (int64_t line = 0; line < batch * lines; ++line) {
    const V* image = x + line / lines * height * width * channels;
    const int64_t y = line % lines * 2, top = max<int64_t>(y - 1, 0), bottom = min(y + 2, height);
    for (int64_t column = 0; column < columns; ++column) {
      const int64_t left = max<int64_t>(2 * column - 1, 0), right = min(2 * column + 2, width);
      V* to = out + (line * columns + column) * channels;
      for (int64_t c = 0; c < channels; c += c < whole ? count : 1) {
        floats most = floats{} - __builtin_inff();
        for (int64_t i = top; i < bottom; ++i)
          for (int64_t j = left; j < right; ++j) {
            const V* from = image + (i * width + j) * channels + c;
            most = max(most, c < whole ? load(from) : floats{} + to_float(*from));
          }
        if (c < whole)
          store(to + c, most);
        else
          put(to[c], most[0]);
      }
    }
  }
}

// x times `steps` plus `zero` as bytes, rounded to the nearest and cut off at both ends.
template <class V>
void to_bytes(const V* x, uint8_t* out, int64_t count, float steps, float zero, int threads) {
#pragma omp parallel for simd num_threads(threads) if (count > MIN_PARALLEL)
  for (int64_t i = 0; i < count; ++i)
    out[i] = uint8_t(min(max(to_float(x[i]) * steps + (zero + 0.5f), 0.0f), 255.0f));
}

}  // namespace

EXPORT(sample_f32, sample<float, float>)
EXPORT(sample_f64, sample<double, double>)
EXPORT(sample_bf16, sample<bf16, float>)
EXPORT(backward_f32, sample_backward<float>)
EXPORT(backward_f64, sample_backward<double>)
EXPORT(attend_f32, attend<float, float, float>)
EXPORT(attend_bf16, attend<bf16, bf16, bf16>)
EXPORT(attend_mixed, attend<bf16, float, float>)
EXPORT(add_norm_f32, add_norm<float>)
EXPORT(add_norm_bf16, add_norm<bf16>)
EXPORT(max_pool_f32, max_pool<float>)
EXPORT(max_pool_bf16, max_pool<bf16>)
EXPORT(to_bytes_f32, to_bytes<float>)
EXPORT(to_bytes_bf16, to_bytes<bf16>)

#ifdef COMMON  // of all levels, compiled with the lowest one

// Which levels this processor, and the system on it, can run: 0 base, 1 also avx2, 2 also avx512.
SHOWN int highest_level() {
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
SHOWN int interface() { return 4; }

// Whether OpenMP distributes the work among threads.
SHOWN int has_threads() {
#ifdef _OPENMP
  return 1;
#else
  return 0;
#endif
}

#endif
