// An encoder layer of the network in one pass, its matrix products by AMX; amx.py calls it.
//
// Unusual here: a block of tokens goes through the whole layer before the next one begins: offsets and
// weights, samples, output, norm, feed-forward, norm, and the values of the next layer. What it makes
// on the way stays in the second-level cache, beside all weights of a layer. Products take bfloat16, or
// bytes: then each row of the input is rounded by its own scale, which is known by the time the row is
// there, so that nothing is calibrated.

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "attention.h"

// As in amx.py.
struct Linear {
  const void* tiles;   // weights, in the order of AMX's tiles: see `product`
  const float* scale;  // of each answer; only for bytes
  const float* bias;
};
struct Norm {
  const float *gain, *bias;
  float eps;
};
struct Layer {
  Linear queries, output, first, second;
  Norm norm1, norm2;
};
struct Sizes {
  int64_t tokens, heads, width, hidden, levels, per_level;  // `width` of all heads together

  int64_t queries() const { return (3 * heads * levels * per_level + 31) / 32 * 32; }
};

namespace {

constexpr int ROWS = 32;    // of a product at once: two tiles
constexpr int TOKENS = 128; // of a block
constexpr int GAP = 64;     // bytes between rows of inputs, lest all of them fall on one set of the cache

struct Palette {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Inputs of a product: rows of `K`, and for bytes the scale of each.
template <class K> struct Inputs {
  K* rows;
  float* scale;
  int64_t stride;  // in bytes

  K* row(int64_t i) const { return (K*)((char*)rows + i * stride); }
};

inline __m512 loaded(const float* p) { return _mm512_loadu_ps(p); }

// Rows of `x`, with `added` where there is something to add, as inputs.
inline void round_rows(const float* x, int64_t stride, const float* added, int64_t count, int64_t width,
                       const Inputs<bf16>& to) {
  for (int64_t i = 0; i < count; ++i) {
    const float *from = x + i * stride, *more = added ? added + i * width : nullptr;
    bf16* row = to.row(i);
    for (int64_t d = 0; d < width; d += 16) {
      const __m512 v = more ? loaded(from + d) + loaded(more + d) : loaded(from + d);
      _mm256_storeu_si256((__m256i*)(row + d), (__m256i)_mm512_cvtneps_pbh(v));
    }
  }
}
inline void round_rows(const float* x, int64_t stride, const float* added, int64_t count, int64_t width,
                       const Inputs<int8_t>& to) {
  for (int64_t i = 0; i < count; ++i) {
    const float *from = x + i * stride, *more = added ? added + i * width : nullptr;
    __m512 most = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += 16) {
      const __m512 v = more ? loaded(from + d) + loaded(more + d) : loaded(from + d);
      most = _mm512_max_ps(most, _mm512_abs_ps(v));
    }
    const float largest = max(_mm512_reduce_max_ps(most), 1e-30f);
    const __m512 steps = _mm512_set1_ps(127.0f / largest);
    to.scale[i] = largest / 127.0f;
    int8_t* row = to.row(i);
    for (int64_t d = 0; d < width; d += 16) {
      const __m512 v = more ? loaded(from + d) + loaded(more + d) : loaded(from + d);
      const __m512i whole = _mm512_cvtps_epi32(v * steps);
      _mm_storeu_si128((__m128i*)(row + d), _mm512_cvtsepi32_epi8(whole));
    }
  }
}

// Two tiles of inputs times two of weights, added to four of sums.
#define MULTIPLY(K, dot_product) \
  inline void multiply(K) {      \
    dot_product(0, 4, 6);        \
    dot_product(1, 4, 7);        \
    dot_product(2, 5, 6);        \
    dot_product(3, 5, 7);        \
  }
MULTIPLY(bf16, _tile_dpbf16ps)
MULTIPLY(int8_t, _tile_dpbssd)
MULTIPLY(uint8_t, _tile_dpbusd)

// Sums of 16 answers with what each of them is scaled by, and their bias.
inline __m512 answered(const float* sums, bf16, float, const Linear& layer, int64_t column) {
  return loaded(sums) + loaded(layer.bias + column);
}
inline __m512 answered(const float* sums, int8_t, float scale, const Linear& layer, int64_t column) {
  const __m512 v = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums));
  return _mm512_fmadd_ps(v * scale, loaded(layer.scale + column), loaded(layer.bias + column));
}
inline __m512 answered(const float* sums, uint8_t, float, const Linear& layer, int64_t column) {
  return answered(sums, int8_t(), 1.0f, layer, column);
}

// in [rows, inner] times the weights [inner, columns], to `out` in rows `stride` apart. `rows` and
// `columns` are multiples of 32. A tile of weights has 16 answers and 64 bytes of inputs for each;
// its rows have the next 4 bytes of inputs for each answer in turn. Tiles of the same answers follow
// one another.
template <class K>
void product(const Inputs<K>& in, const Linear& layer, int64_t inner, int64_t columns, int64_t rows,
             float* out, int64_t stride, bool relu = false) {
  const int64_t steps = inner * sizeof(K) / 64;
  const __m512 least = _mm512_set1_ps(relu ? 0.0f : -__builtin_inff());
  for (int64_t n = 0; n < columns; n += 32) {
    const char* west = (const char*)layer.tiles + n / 16 * steps * 1024;
    const char* east = west + steps * 1024;
    for (int64_t m = 0; m < rows; m += ROWS) {
      const char *north = (const char*)in.row(m), *south = (const char*)in.row(m + 16);
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int64_t k = 0; k < steps; ++k) {
        _tile_loadd(4, north + k * 64, in.stride);
        _tile_loadd(6, west + k * 1024, 64);
        _tile_loadd(5, south + k * 64, in.stride);
        _tile_loadd(7, east + k * 1024, 64);
        multiply(K{});
      }
      float* to = out + m * stride + n;
      _tile_stored(0, to, stride * sizeof(float));
      _tile_stored(1, to + 16, stride * sizeof(float));
      _tile_stored(2, to + 16 * stride, stride * sizeof(float));
      _tile_stored(3, to + 16 * stride + 16, stride * sizeof(float));
      for (int64_t i = 0; i < ROWS; ++i, to += stride)
        for (int64_t d = 0; d < 32; d += 16) {
          const __m512 v = answered(to + d, K{}, in.scale[m + i], layer, n + d);
          _mm512_storeu_ps(to + d, _mm512_max_ps(v, least));
        }
    }
  }
}

// Rows of x become norm(x + y).
inline void add_norm(float* x, const float* y, int64_t stride, const Norm& norm, int64_t count,
                     int64_t width) {
  for (int64_t i = 0; i < count; ++i, x += width, y += stride) {
    __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
    for (int64_t d = 0; d < width; d += 16) {
      const __m512 v = loaded(x + d) + loaded(y + d);
      _mm512_storeu_ps(x + d, v);
      sum += v;
    }
    const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
    for (int64_t d = 0; d < width; d += 16) {
      const __m512 v = loaded(x + d) - mean;
      squares += v * v;
    }
    const float variance = _mm512_reduce_add_ps(squares) / width;
    const __m512 scale = _mm512_set1_ps(1.0f / __builtin_sqrtf(variance + norm.eps));
    for (int64_t d = 0; d < width; d += 16) {
      const __m512 v = (loaded(x + d) - mean) * scale;
      _mm512_storeu_ps(x + d, _mm512_fmadd_ps(v, loaded(norm.gain + d), loaded(norm.bias + d)));
    }
  }
}

// What a thread needs for a block; `all` is one piece of memory.
template <class K> struct Scratch {
  void* all;
  Inputs<K> in, hidden_in;
  float *wide, *narrow;  // answers: of queries and of the hidden layer; of the width

  explicit Scratch(const Sizes& size) {
    const int64_t queries = size.queries();
    const int64_t answers = max(TOKENS * queries, ROWS * size.hidden);
    const int64_t row = size.width * sizeof(K) + GAP, hidden = size.hidden * sizeof(K) + GAP;
    const int64_t bytes = TOKENS * (row + (size.width + 2) * sizeof(float))
                          + ROWS * hidden + answers * sizeof(float);
    all = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    std::memset(all, 0, bytes);
    char* at = (char*)all;
    in = {(K*)at, nullptr, row};
    hidden_in = {(K*)(at += TOKENS * row), nullptr, hidden};
    wide = (float*)(at += ROWS * hidden);
    narrow = wide + answers;
    in.scale = narrow + TOKENS * size.width;
    hidden_in.scale = in.scale + TOKENS;
  }
  ~Scratch() { std::free(all); }
  Scratch(const Scratch&) = delete;
};

// Values of rows of tokens, from `first` on, to `values` [M, S, D].
template <class K>
void project(const float* rows, int64_t count, const Linear& layer, const Sizes& size, Scratch<K>& scratch,
             bf16* values, int64_t first) {
  const int64_t width = size.width, own = width / size.heads;
  round_rows(rows, width, nullptr, count, width, scratch.in);
  product(scratch.in, layer, width, width, TOKENS, scratch.narrow, width);
  for (int64_t m = 0; m < size.heads; ++m)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t d = 0; d < own; d += 16)
        _mm256_storeu_si256(
            (__m256i*)(values + (m * size.tokens + first + i) * own + d),
            (__m256i)_mm512_cvtneps_pbh(loaded(scratch.narrow + i * width + m * own + d)));
}

// A block of tokens, through the layer.
template <class K>
void through(const Layer& layer, const Sizes& size, const Levels& at, float* tokens, int64_t count,
             const float* position, const float* reference, const bf16* values, Scratch<K>& scratch) {
  const int64_t width = size.width, own = width / size.heads, queries = size.queries();
  float *wide = scratch.wide, *narrow = scratch.narrow;
  round_rows(tokens, width, position, count, width, scratch.in);
  product(scratch.in, layer.queries, width, queries, TOKENS, wide, queries);
  for (int64_t m = 0; m < size.heads; ++m)
    attend_head(at, values + m * size.tokens * own, wide, queries, reference, false, size.per_level, m,
                size.heads, count, own, narrow, width);
  round_rows(narrow, width, nullptr, count, width, scratch.in);
  product(scratch.in, layer.output, width, width, TOKENS, narrow, width);
  add_norm(tokens, narrow, width, layer.norm1, count, width);
  round_rows(tokens, width, nullptr, count, width, scratch.in);
  for (int64_t m = 0; m < count; m += ROWS) {
    const Inputs<K> in = {scratch.in.row(m), scratch.in.scale + m, scratch.in.stride};
    product(in, layer.first, width, size.hidden, ROWS, wide, size.hidden, true);
    round_rows(wide, size.hidden, nullptr, ROWS, size.hidden, scratch.hidden_in);
    product(scratch.hidden_in, layer.second, size.hidden, width, ROWS, narrow + m * width, width);
  }
  add_norm(tokens, narrow, width, layer.norm2, count, width);
}

// Tokens [S, C] through a layer, in place; without one they stay. `values` [M, S, D] are theirs;
// `next_values` become those for `next`, where it is given.
template <class K>
void encode(float* tokens, const float* position, const float* reference, const bf16* values,
            bf16* next_values, const Layer* layer, const Linear* next, const Sizes& size,
            const int64_t* shapes, int threads) {
  const Levels at(size.levels, size.per_level, shapes, size.width / size.heads);
  const int64_t blocks = (size.tokens + TOKENS - 1) / TOKENS;
#pragma omp parallel num_threads(threads)
  {
    const Palette palette;
    Scratch<K> scratch(size);
    _tile_loadconfig(&palette);
#pragma omp for schedule(dynamic)
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t first = block * TOKENS, count = min<int64_t>(TOKENS, size.tokens - first);
      float* rows = tokens + first * size.width;
      if (layer)
        through(*layer, size, at, rows, count, position + first * size.width, reference + first * 2,
                values, scratch);
      if (next) project(rows, count, *next, size, scratch, next_values, first);
    }
    _tile_release();
  }
}

// Bytes x [rows, inner], which stand for what `layer` scales, times its weights [inner, columns]; to
// the answers are added the bytes of `sum` [rows, columns], `step` times what they are above `zero`. The
// result is written to `sum` as bytes, `steps` of them to 1 above `new_zero`. `columns` are a multiple
// of 32 and `inner` one of 64.
void add_product(const uint8_t* x, const Linear& layer, uint8_t* sum, int64_t rows, int64_t inner,
                 int64_t columns, float step, float zero, float steps, float new_zero, int relu,
                 int threads) {
  const __m512 least = _mm512_set1_ps(relu ? new_zero : 0.0f), most = _mm512_set1_ps(255.0f);
#pragma omp parallel num_threads(threads)
  {
    const Palette palette;
    float* answers = (float*)std::aligned_alloc(64, ROWS * (columns * sizeof(float) + inner));
    uint8_t* last = (uint8_t*)(answers + ROWS * columns);  // rows that are filled up to ROWS
    _tile_loadconfig(&palette);
#pragma omp for
    for (int64_t first = 0; first < rows; first += ROWS) {
      const int64_t count = min<int64_t>(ROWS, rows - first);
      const uint8_t* from = x + first * inner;
      if (count < ROWS) from = (const uint8_t*)std::memcpy(last, from, count * inner);
      product(Inputs<uint8_t>{(uint8_t*)from, answers, inner}, layer, inner, columns, ROWS, answers,
              columns);
      uint8_t* to = sum + first * columns;
      for (int64_t i = 0; i < count * columns; i += 16) {
        const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)(to + i)));
        const __m512 v = loaded(answers + i) + (_mm512_cvtepi32_ps(bytes) - zero) * step;
        const __m512 all = _mm512_min_ps(_mm512_max_ps(v * steps + new_zero, least), most);
        _mm_storeu_si128((__m128i*)(to + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(all)));
      }
    }
    _tile_release();
    std::free(answers);
  }
}

}  // namespace

EXPORT(encode_bf16, encode<bf16>)
EXPORT(encode_int8, encode<int8_t>)
EXPORT(add_product, add_product)

// Whether this processor has AMX, and Linux lets this process use it.
SHOWN int has_amx() {
  __builtin_cpu_init();
  constexpr int REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;  // of arch_prctl
  return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
         __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("avx512bf16") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
