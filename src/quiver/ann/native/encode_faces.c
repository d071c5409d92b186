/* rabitq_codes and byte_rows as Python calls them, for building: every size and place is checked before. */
#include <float.h>
#include <math.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "faces.h"

#define TOGETHER 8 /* rows whose sums are made at once: each has to wait for its last addition otherwise */

/* A bit for each number: whether it is positive. */
static void signs_of(const float *row, size_t dimension, uint8_t *bits) {
    size_t k = 0;
#ifdef __SSE2__
    const __m128 zero = _mm_setzero_ps();
    for (; k + 8 <= dimension; k += 8) {
        int low = _mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(row + k), zero));
        int high = _mm_movemask_ps(_mm_cmpgt_ps(_mm_loadu_ps(row + k + 4), zero));
        bits[k / 8] = (uint8_t)(low | high << 4);
    }
#endif
    for (; k < dimension; k += 8) {
        unsigned byte = 0;
        for (size_t i = 0; i < 8 && k + i < dimension; i++)
            byte |= (unsigned)(row[k + i] > 0) << i;
        bits[k / 8] = (uint8_t)byte;
    }
}

/* The two numbers at the end of a code: see ann/codecs/rabitq.py. */
static void factors_of(float squares, float sum, size_t dimension, float *out) {
    float root = sqrtf((float)dimension), factor = sum > 0 ? squares * root / sum : 0;
    if (squares >= FLT_EPSILON) {
        float norm = sqrtf(squares);
        factor = 1 / (sum * (1 / norm) * (1 / root)) * norm;
    }
    out[0] = squares;
    out[1] = factor;
}

/* Codes of at most TOGETHER rows; sums go from coordinate to coordinate. */
static void codes_of(const float *rows, size_t count, size_t dimension, uint8_t *out) {
    const float *row[TOGETHER];
    float squares[TOGETHER] = {0}, sums[TOGETHER] = {0}, factors[2];
    size_t bytes = (dimension + 7) / 8, size = bytes + FACTORS_SIZE;
    for (size_t i = 0; i < TOGETHER; i++)
        row[i] = rows + (i < count ? i : 0) * dimension;
    for (size_t k = 0; k < dimension; k++)
        for (size_t i = 0; i < TOGETHER; i++) {
            squares[i] += row[i][k] * row[i][k];
            sums[i] += fabsf(row[i][k]);
        }
    for (size_t i = 0; i < count; i++, out += size) {
        signs_of(row[i], dimension, out);
        factors_of(squares[i], sums[i], dimension, factors);
        memcpy(out + bytes, factors, sizeof factors);
    }
}

static PyObject *run_codes(const Py_buffer *rows, const Py_buffer *out) {
    size_t count = (size_t)rows->shape[0], dimension = (size_t)rows->shape[1];
    size_t size = (dimension + 7) / 8 + FACTORS_SIZE;
    if (!dimension || (size_t)out->shape[0] != count || (size_t)out->shape[1] != size)
        return refuse("rabitq_codes: the arrays do not fit each other");
    const float *from = rows->buf;
    uint8_t *to = out->buf;
    Py_BEGIN_ALLOW_THREADS
    for (size_t start = 0; start < count; start += TOGETHER)
        codes_of(from + start * dimension, count - start < TOGETHER ? count - start : TOGETHER, dimension,
                 to + start * size);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *rabitq_codes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *out;
    PyObject *done = NULL;
    if (counted("rabitq_codes", given, 2) && (rows = hold(&held, args[0], (Wanted){"rows", 'f', 2, ALIGNED})) &&
        (out = hold(&held, args[1], (Wanted){"out", 'B', 2, WRITABLE})))
        done = run_codes(rows, out);
    let_go(&held);
    return done;
}

/* The level of a coordinate within its range; what is outside is at the nearest end, what is no number at the lower. */
static uint8_t level(float number, float low, float width) {
    float part = (number - low) / width;
    if (!(part > 0) || width == 0)
        return 0;
    return part < 1 ? (uint8_t)(255 * part) : 255;
}

#ifdef __SSE2__
/* The same of four coordinates. */
static __m128i four_levels(const float *row, const float *low, const float *width) {
    __m128 range = _mm_loadu_ps(width), part = _mm_div_ps(_mm_sub_ps(_mm_loadu_ps(row), _mm_loadu_ps(low)), range);
    const __m128 zero = _mm_setzero_ps();
    part = _mm_and_ps(part, _mm_and_ps(_mm_cmpgt_ps(part, zero), _mm_cmpneq_ps(range, zero)));
    return _mm_cvttps_epi32(_mm_mul_ps(_mm_set1_ps(255), _mm_min_ps(part, _mm_set1_ps(1))));
}
#endif

static void levels_of(const float *row, const float *low, const float *width, size_t dimension, uint8_t *out) {
    size_t k = 0;
#ifdef __SSE2__
    for (; k + 16 <= dimension; k += 16) {
        __m128i parts[4];
        for (size_t i = 0; i < 4; i++)
            parts[i] = four_levels(row + k + 4 * i, low + k + 4 * i, width + k + 4 * i);
        __m128i first = _mm_packs_epi32(parts[0], parts[1]), second = _mm_packs_epi32(parts[2], parts[3]);
        _mm_storeu_si128((__m128i *)(out + k), _mm_packus_epi16(first, second));
    }
#endif
    for (; k < dimension; k++)
        out[k] = level(row[k], low[k], width[k]);
}

static PyObject *run_levels(const Py_buffer *rows, const Py_buffer *low, const Py_buffer *width,
                            const Py_buffer *out) {
    Py_ssize_t count = rows->shape[0], dimension = rows->shape[1];
    if (low->shape[0] != dimension || width->shape[0] != dimension || out->shape[0] != count ||
        out->shape[1] != dimension)
        return refuse("byte_rows: the arrays do not fit each other");
    const float *from = rows->buf;
    uint8_t *to = out->buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        levels_of(from + i * dimension, low->buf, width->buf, (size_t)dimension, to + i * dimension);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *byte_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *low, *width, *out;
    PyObject *done = NULL;
    if (counted("byte_rows", given, 4) && (rows = hold(&held, args[0], (Wanted){"rows", 'f', 2, ALIGNED})) &&
        (low = hold(&held, args[1], (Wanted){"low", 'f', 1, ALIGNED})) &&
        (width = hold(&held, args[2], (Wanted){"width", 'f', 1, ALIGNED})) &&
        (out = hold(&held, args[3], (Wanted){"out", 'B', 2, WRITABLE})))
        done = run_levels(rows, low, width, out);
    let_go(&held);
    return done;
}
