/* Making tables and counting codes with AVX2: the same integers as scan.h, faster. */
#ifndef QUIVER_SCAN_AVX2_H
#define QUIVER_SCAN_AVX2_H

#include <immintrin.h>

#include "scan.h"

#define AVX2 __attribute__((target("avx2")))

AVX2 static inline __m256i levels_of(const float *placed, __m256 scale) {
    __m256 product = _mm256_mul_ps(_mm256_loadu_ps(placed), scale);
    return _mm256_cvttps_epi32(_mm256_add_ps(product, _mm256_set1_ps(LEVELS / 2)));
}

/* Sixteen levels as bytes, in order. */
AVX2 static inline __m128i level_bytes(const float *placed, __m256 scale) {
    __m256i words = _mm256_packs_epi32(levels_of(placed, scale), levels_of(placed + 8, scale));
    words = _mm256_permute4x64_epi64(words, 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* Both tables of a step at once. */
AVX2 static inline void tabulate_avx2(const Scan *scan, float scale) {
    const float *placed = scan->placed; /* not to be looked up again after each store */
    uint8_t *numbers = scan->levels, *tables = scan->tables;
    size_t steps = scan->steps;
    for (size_t at = 0; at < STEP * steps; at += 2 * STEP)
        _mm_storeu_si128((__m128i *)(numbers + at), level_bytes(placed + at, _mm256_set1_ps(scale)));
    memset(numbers + scan->dimension, 0, STEP * steps - scan->dimension);
    __m256i lanes = _mm256_setr_epi64x(0, 0, 0x0404040404040404, 0x0404040404040404);
    __m256i with_bit[4], picked[4];
    for (int i = 0; i < 4; i++) {
        with_bit[i] = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)&WITH_BIT[i]));
        picked[i] = _mm256_add_epi8(lanes, _mm256_set1_epi8((char)i));
    }
    for (size_t step = 0; step < steps; step++) {
        int64_t eight;
        LOAD(eight, numbers + STEP * step);
        __m256i levels = _mm256_set1_epi64x(eight), table = _mm256_setzero_si256();
        for (int i = 0; i < 4; i++)
            table = _mm256_add_epi8(table, _mm256_xor_si256(_mm256_shuffle_epi8(levels, picked[i]), with_bit[i]));
        _mm256_storeu_si256((__m256i *)(tables + 32 * step), table);
    }
}

/* Counts of 16 codes: of their first coordinates in one lane of bytes, of the others in the other lane. */
typedef struct {
    __m256i even, odd;
} Sums;

AVX2 static inline void add_bytes(Sums *sums, __m256i bytes) {
    sums->even = _mm256_add_epi16(sums->even, _mm256_and_si256(bytes, _mm256_set1_epi16(255)));
    sums->odd = _mm256_add_epi16(sums->odd, _mm256_srli_epi16(bytes, 8));
}

AVX2 static inline void store_sums(const Sums *sums, uint16_t *counts) {
    __m128i even = _mm_add_epi16(_mm256_castsi256_si128(sums->even), _mm256_extracti128_si256(sums->even, 1));
    __m128i odd = _mm_add_epi16(_mm256_castsi256_si128(sums->odd), _mm256_extracti128_si256(sums->odd, 1));
    _mm_storeu_si128((__m128i *)counts, _mm_unpacklo_epi16(even, odd));
    _mm_storeu_si128((__m128i *)(counts + 8), _mm_unpackhi_epi16(even, odd));
}

/* Look up `count` steps, at most BATCH. */
AVX2 static inline __attribute__((always_inline)) void add_steps(const uint8_t *codes, const uint8_t *tables,
                                                                 size_t count, Sums *low, Sums *high) {
    __m256i half = _mm256_set1_epi8(15), low_bytes = _mm256_setzero_si256(), high_bytes = low_bytes;
    for (size_t step = 0; step < count; step++) {
        __m256i eight = _mm256_loadu_si256((const __m256i *)(codes + 2 * HALF * step));
        __m256i table = _mm256_loadu_si256((const __m256i *)(tables + 32 * step));
        __m256i upper = _mm256_and_si256(_mm256_srli_epi16(eight, 4), half);
        low_bytes = _mm256_add_epi8(low_bytes, _mm256_shuffle_epi8(table, _mm256_and_si256(eight, half)));
        high_bytes = _mm256_add_epi8(high_bytes, _mm256_shuffle_epi8(table, upper));
    }
    add_bytes(low, low_bytes);
    add_bytes(high, high_bytes);
}

AVX2 static inline void count_avx2(const Scan *scan, const uint8_t *block, uint16_t *counts) {
    Sums low = {_mm256_setzero_si256(), _mm256_setzero_si256()}, high = low;
    size_t step = 0;
    for (; step + BATCH <= scan->steps; step += BATCH)
        add_steps(block + 2 * HALF * step, scan->tables + 32 * step, BATCH, &low, &high);
    if (step < scan->steps)
        add_steps(block + 2 * HALF * step, scan->tables + 32 * step, scan->steps - step, &low, &high);
    store_sums(&low, counts);
    store_sums(&high, counts + HALF);
}

#endif
