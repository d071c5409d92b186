/* Products of small matrices for processors with fused multiplications: for rotating rows that are encoded, whose codes
may be rounded otherwise on another processor, as a BLAS product would have it. */
#ifndef QUIVER_ROTATE_FMA_H
#define QUIVER_ROTATE_FMA_H

#include <immintrin.h>

#include "kernels.h"
#include "vectors.h"

#define FMA __attribute__((target("avx2,fma")))
#define FOLLOWING 4 /* lines of `a` at once: each number of `b` that is read serves so many products */

/* `vectors` times eight columns of four lines of the product. */
FMA static inline __attribute__((always_inline)) void multiply_columns(const float *const *lines, const float *b,
                                                                       size_t depth, size_t stride, size_t vectors,
                                                                       float *const *out) {
    __m256 sums[FOLLOWING][3];
    for (size_t i = 0; i < FOLLOWING; i++)
        for (size_t part = 0; part < vectors; part++)
            sums[i][part] = _mm256_setzero_ps();
    for (size_t k = 0; k < depth; k++, b += stride)
        for (size_t i = 0; i < FOLLOWING; i++) {
            __m256 factor = _mm256_broadcast_ss(lines[i] + k);
            for (size_t part = 0; part < vectors; part++)
                sums[i][part] = _mm256_fmadd_ps(factor, _mm256_loadu_ps(b + LANES * part), sums[i][part]);
        }
    for (size_t i = 0; i < FOLLOWING; i++)
        for (size_t part = 0; part < vectors; part++)
            _mm256_storeu_ps(out[i] + LANES * part, sums[i][part]);
}

/* As `multiply` (scan.h), but for the rounding. */
FMA static inline void multiply_fused(const float *a, const float *b, float *out, size_t height, size_t depth,
                                      size_t stride) {
    for (size_t row = 0; row < height; row += FOLLOWING) {
        const float *lines[FOLLOWING];
        float *to[FOLLOWING];
        for (size_t i = 0; i < FOLLOWING; i++) { /* past the last one, that once more */
            size_t line = row + i < height ? row + i : height - 1;
            lines[i] = a + line * depth;
            to[i] = out + line * stride;
        }
        for (size_t column = 0, vectors; column < stride; column += LANES * vectors) {
            size_t left = (stride - column) / LANES;
            vectors = left == 4 ? 2 : left < 3 ? left : 3; /* a single one would wait for its own sums */
            if (vectors == 3)
                multiply_columns(lines, b + column, depth, stride, 3, to);
            else if (vectors == 2)
                multiply_columns(lines, b + column, depth, stride, 2, to);
            else
                multiply_columns(lines, b + column, depth, stride, 1, to);
            for (size_t i = 0; i < FOLLOWING; i++)
                to[i] += LANES * vectors;
        }
    }
}

#endif
