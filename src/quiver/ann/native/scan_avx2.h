/* Cutting planes and counting bits with AVX2: the same integers as scan.h, faster. */
#ifndef QUIVER_SCAN_AVX2_H
#define QUIVER_SCAN_AVX2_H

#include <immintrin.h>

#include "scan.h"

#define AVX2 __attribute__((target("avx2,popcnt")))
#define STEP 16  /* bytes of each of two codes that are looked at together */
#define LAST_STEP(dimension) (((dimension) - 1) / (8 * STEP))
#define SPLIT (2 * QUERY_BITS) /* vectors of a step: low and high halves of the bytes of each plane */

AVX2 static inline __m256i levels_of(const float *placed, __m256 scale) {
    __m256 product = _mm256_mul_ps(_mm256_loadu_ps(placed), scale);
    return _mm256_cvttps_epi32(_mm256_add_ps(product, _mm256_set1_ps(LEVELS / 2)));
}

/* 32 levels as bytes, in order. */
AVX2 static inline __m256i level_bytes(const float *placed, __m256 scale) {
    __m256i low = _mm256_packs_epi32(levels_of(placed, scale), levels_of(placed + 8, scale));
    __m256i high = _mm256_packs_epi32(levels_of(placed + 16, scale), levels_of(placed + 24, scale));
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
}

/* The bits of the last step that are signs. */
AVX2 static inline __m256i last_mask(size_t dimension) {
    size_t bits = dimension - LAST_STEP(dimension) * 8 * STEP;
    uint64_t low = bits < 64 ? ((uint64_t)1 << bits) - 1 : ~(uint64_t)0;
    uint64_t high = bits > 64 ? ~(uint64_t)0 >> (128 - bits) : 0;
    return _mm256_broadcastsi128_si256(_mm_set_epi64x((long long)high, (long long)low));
}

/* The planes, then their half bytes in `split`, each vector twice the same sixteen bytes. */
AVX2 static inline void cut_avx2(const Scan *scan, float scale) {
    uint8_t *planes = (uint8_t *)scan->planes;
    size_t stride = 8 * scan->plane_words;
    __m256 scales = _mm256_set1_ps(scale);
    __m256i half = _mm256_set1_epi8(15);
    for (size_t at = 0; at < 64 * scan->words; at += 32) {
        __m256i levels = level_bytes(scan->placed + at, scales);
        for (int plane = QUERY_BITS - 1; plane >= 0; plane--) {
            int bits = _mm256_movemask_epi8(_mm256_slli_epi16(levels, 7 - plane));
            memcpy(planes + plane * stride + at / 8, &bits, sizeof bits);
        }
    }
    __m256i mask = last_mask(scan->dimension);
    size_t last = LAST_STEP(scan->dimension);
    for (size_t step = 0; step <= last; step++)
        for (int plane = 0; plane < QUERY_BITS; plane++) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)(planes + plane * stride + STEP * step));
            __m256i both = _mm256_broadcastsi128_si256(bytes);
            if (step == last)
                both = _mm256_and_si256(both, mask);
            __m256i *split = (__m256i *)scan->split + SPLIT * step + 2 * plane;
            _mm256_storeu_si256(split, _mm256_and_si256(both, half));
            _mm256_storeu_si256(split + 1, _mm256_and_si256(_mm256_srli_epi16(both, 4), half));
        }
}

/* Bits in which sixteen bytes of two codes differ from the planes, weighted, in sums of eight bytes. */
AVX2 static inline __m256i count_step(__m256i codes, const __m256i *split) {
    __m256i half = _mm256_set1_epi8(15), sum = _mm256_setzero_si256();
    __m256i low = _mm256_and_si256(codes, half), high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), half);
    __m256i bits = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2,
                                    3, 2, 3, 3, 4);
    for (int plane = 0; plane < QUERY_BITS; plane++) {
        __m256i weighted = _mm256_slli_epi16(bits, plane); /* at most 32: no byte reaches into the next */
        __m256i low_bits = _mm256_xor_si256(low, _mm256_loadu_si256(split + 2 * plane));
        __m256i high_bits = _mm256_xor_si256(high, _mm256_loadu_si256(split + 2 * plane + 1));
        sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(weighted, low_bits));
        sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(weighted, high_bits));
    }
    return _mm256_sad_epu8(sum, _mm256_setzero_si256());
}

AVX2 static inline __m256i load_pair(const uint8_t *first, const uint8_t *second) {
    __m256i low = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)first));
    return _mm256_inserti128_si256(low, _mm_loadu_si128((const __m128i *)second), 1);
}

/* Two codes at a time. The last load may reach beyond the signs: at least 16 bytes of floats and numbers follow them.
They are masked, as the
planes are. */
AVX2 static inline void count_avx2(const Scan *scan, const Part *part, const uint32_t *picked, size_t count,
                                   uint32_t *counts) {
    const __m256i *split = (const __m256i *)scan->split;
    size_t last = LAST_STEP(scan->dimension);
    __m256i mask = last_mask(scan->dimension);
    for (size_t i = 0; i < count; i += 2) {
        const uint8_t *first = part->codes + picked[i] * scan->code_size;
        const uint8_t *second = i + 1 < count ? part->codes + picked[i + 1] * scan->code_size : first;
        __m256i sums = _mm256_setzero_si256();
        for (size_t step = 0; step < last; step++)
            sums = _mm256_add_epi64(
                sums, count_step(load_pair(first + STEP * step, second + STEP * step), split + SPLIT * step));
        __m256i rest = _mm256_and_si256(load_pair(first + STEP * last, second + STEP * last), mask);
        sums = _mm256_add_epi64(sums, count_step(rest, split + SPLIT * last));
        sums = _mm256_add_epi64(sums, _mm256_unpackhi_epi64(sums, sums));
        counts[i] = (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(sums));
        if (i + 1 < count)
            counts[i + 1] = (uint32_t)_mm_cvtsi128_si32(_mm256_extracti128_si256(sums, 1));
    }
}

#endif
