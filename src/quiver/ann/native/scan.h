/* The scan of 1-bit RaBitQ codes and the rotation of a query: bodies that variants.c compiles.

A code is the signs of a rotated residual r = row - origin, a bit each, |r|^2, and f = |r|^2 sqrt(d) / sum |r_i|.
With q = query - origin, rotated, the squared distance is estimated as

    |r|^2 + |q|^2 - 2 f / sqrt(d) * sum(sign_i q_i)

q_i is rounded to one of the 16 levels v = -15, -13 ... 15 times |q|_max / 15, number l = (v + 15) / 2. So
sum(sign_i v_i) follows from the sum over i of l_i where the sign is negative and 15 - l_i where it is positive, here
called the count of a code. For four coordinates it has 16 values, one for each half byte of signs: a table that fits
a vector, in which a byte shuffle looks up 16 codes at once (Andre, Kermarrec and Le Scouarnec, Cache locality is
not enough: high-performance nearest neighbor search with product quantization fast scan, VLDB 2015).

Therefore codes lie in blocks of 32. For every eight coordinates a block has 32 bytes: in the first 16 the half bytes
of the first four coordinates, of codes 0 to 15 in the low halves and 16 to 31 in the high ones; in the other 16 those
of the last four coordinates; of coordinates that there are not, zeros. Then come |r|^2 of the 32 codes, then f, as
float32. Where there are fewer codes, the rest of the block means nothing. */
#ifndef QUIVER_SCAN_H
#define QUIVER_SCAN_H

#include <math.h>

#include "vectors.h"

#define LEVELS 16
#define STEP 8             /* coordinates that are looked up together */
#define BATCH 4            /* steps whose counts, at most 60 each, fit a byte together */
#define HALF (BLOCK_CODES / 2)
#define LEAST_PEAK 1e-30f
#define MOST_PEAK 1e30f

/* What the estimates of a partition share: |q|^2, and twice the product of f with the signs as at - per * count. */
typedef struct {
    float square, at, per;
} Placed;

/* How a variant makes `tables` of the levels of `placed` * `scale`, and counts the codes of a block. */
typedef void (*Tabulate)(const Scan *scan, float scale);
typedef void (*Count)(const Scan *scan, const uint8_t *block, uint16_t *counts);

/* For each bit of a half byte, the half bytes that have it. */
static const u8x16 WITH_BIT[4] = {
    {0, 15, 0, 15, 0, 15, 0, 15, 0, 15, 0, 15, 0, 15, 0, 15},
    {0, 0, 15, 15, 0, 0, 15, 15, 0, 0, 15, 15, 0, 0, 15, 15},
    {0, 0, 0, 0, 15, 15, 15, 15, 0, 0, 0, 0, 15, 15, 15, 15},
    {0, 0, 0, 0, 0, 0, 0, 0, 15, 15, 15, 15, 15, 15, 15, 15},
};

BODY void tabulate_plain(const Scan *scan, float scale) {
    for (size_t i = 0; i < scan->dimension; i++)
        scan->levels[i] = (uint8_t)(int32_t)(scan->placed[i] * scale + LEVELS / 2);
    for (size_t group = 0; group < 2 * scan->steps; group++) {
        u8x16 table = {0};
        for (int i = 0; i < 4; i++)
            table += scan->levels[4 * group + i] ^ WITH_BIT[i]; /* l ^ 15 is 15 - l */
        memcpy(scan->tables + 16 * group, &table, sizeof table);
    }
}

BODY void count_plain(const Scan *scan, const uint8_t *block, uint16_t *counts) {
    u16x16 low_sums = {0}, high_sums = {0};
    for (size_t group = 0; group < 2 * scan->steps; group++) {
        u8x16 codes, table;
        LOAD(codes, block + HALF * group);
        LOAD(table, scan->tables + 16 * group);
        low_sums += __builtin_convertvector(__builtin_shuffle(table, codes & 15), u16x16);
        high_sums += __builtin_convertvector(__builtin_shuffle(table, codes >> 4), u16x16);
    }
    memcpy(counts, &low_sums, sizeof low_sums);
    memcpy(counts + HALF, &high_sums, sizeof high_sums);
}

/* Eight numbers, of which there is at least one from `at` on; zeros for those that are missing. */
BODY void load_some(f32x8 *some, const float *numbers, size_t at, size_t count) {
    if (count - at >= LANES) {
        memcpy(some, numbers + at, sizeof *some);
        return;
    }
    *some = (f32x8){0};
    memcpy(some, numbers + at, sizeof *numbers * (count - at));
}

/* Write q - origin; of these eight, add the squares to `sums` and take the greatest magnitudes into `most`. */
BODY void place_eight(const float *query, const f32x8 *from, float *placed, f32x8 *sums, i32x8 *most) {
    f32x8 part;
    LOAD(part, query);
    part -= *from;
    memcpy(placed, &part, sizeof part);
    *sums += part * part;
    i32x8 magnitude = (i32x8)part & INT32_MAX; /* magnitudes are ordered as their bits are */
    i32x8 larger = magnitude > *most;
    *most = (magnitude & larger) | (*most & ~larger);
}

BODY Placed place(const Scan *scan, const float *origin, Tabulate tabulate) {
    const float *query = scan->query; /* not to be looked up again after each store */
    float *numbers = scan->placed;
    size_t dimension = scan->dimension, at = 0;
    i32x8 most = {0};
    f32x8 sums = {0}, from;
    for (; at + LANES <= dimension; at += LANES) {
        LOAD(from, origin + at);
        place_eight(query + at, &from, numbers + at, &sums, &most);
    }
    if (at < dimension) {
        load_some(&from, origin, at, dimension);
        place_eight(query + at, &from, numbers + at, &sums, &most);
    }
    int32_t largest = 0;
    for (int lane = 0; lane < LANES; lane++)
        largest = most[lane] > largest ? most[lane] : largest;
    float peak, scale = 0, root = sqrtf((float)scan->dimension);
    LOAD(peak, &largest);
    if (peak >= LEAST_PEAK && peak <= MOST_PEAK)
        scale = (LEVELS - 1) / (2 * peak);
    else
        memset(scan->placed, 0, sizeof *scan->placed * scan->dimension); /* too small to count, or no numbers */
    tabulate(scan, scale);
    f32x4 halves[2];
    memcpy(halves, &sums, sizeof halves);
    return (Placed){TOTAL(halves[0], halves[1]), 2 * peak * root, 4 * peak / ((LEVELS - 1) * root)};
}

/* A bit for each code of a block. */
static const i32x8 BITS[BLOCK_CODES / LANES] = {
    {1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7},
    {1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15},
    {1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 1 << 23},
    {1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30, INT32_MIN},
};

/* The scores of the codes of a block; the bits of those that are not above `worst`. */
BODY uint32_t score(const Scan *scan, const Placed *placed, const uint8_t *block, const uint16_t *counts, float worst,
                    float *scores) {
    i32x8 good = {0};
    const uint8_t *squares = block + BLOCK_CODES * scan->steps, *factors = squares + 4 * BLOCK_CODES;
    for (size_t at = 0; at < BLOCK_CODES; at += LANES) {
        f32x8 square, factor;
        u16x8 count;
        LOAD(square, squares + 4 * at);
        LOAD(factor, factors + 4 * at);
        LOAD(count, counts + at);
        f32x8 along = placed->at - placed->per * __builtin_convertvector(__builtin_convertvector(count, i32x8), f32x8);
        f32x8 part = (square + placed->square) - factor * along;
        memcpy(scores + at, &part, sizeof part);
        good |= ~(part > worst) & BITS[at / LANES];
    }
    uint64_t bits[4];
    memcpy(bits, &good, sizeof bits);
    bits[0] = (bits[0] | bits[1]) | (bits[2] | bits[3]);
    return (uint32_t)(bits[0] | bits[0] >> 32);
}

/* Whether any of `count` rows from `row` on may be found. */
BODY int any_allowed(const Scan *scan, uint64_t row, size_t count) {
    if (!scan->allowed)
        return 1;
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= scan->allowed[row + i];
    return any;
}

/* Gather the rows of `good` bits that may be found. */
BODY void offer(const Scan *scan, const float *scores, uint32_t good, uint64_t row, Nearest *nearest) {
    nearest_ready(nearest);
    for (; good; good &= good - 1) {
        uint64_t i = (uint64_t)__builtin_ctz(good);
        if (!scan->allowed || scan->allowed[row + i])
            nearest->entries[nearest->count++] = entry_of(scores[i], (uint32_t)(row + i));
    }
}

/* Ask for some bytes before they are needed. */
BODY void fetch(const void *bytes, size_t size) {
    for (size_t byte = 0; byte < size; byte += LINE)
        __builtin_prefetch((const uint8_t *)bytes + byte);
}

BODY void scan_body(const Scan *scan, Nearest *nearest, Tabulate tabulate, Count count_codes) {
    uint16_t counts[BLOCK_CODES];
    float scores[BLOCK_CODES];
    for (const Part *part = scan->parts; nearest->limit && part < scan->parts + scan->part_count; part++) {
        if (!part->size)
            continue;
        const Part *next = part + 1 < scan->parts + scan->part_count ? part + 1 : part;
        fetch(next->origin, sizeof *next->origin * scan->dimension);
        Placed placed = place(scan, part->origin, tabulate);
        for (size_t start = 0; start < part->size; start += BLOCK_CODES) {
            const uint8_t *block = part->codes + start * scan->code_size;
            size_t count = part->size - start < BLOCK_CODES ? part->size - start : BLOCK_CODES;
            if (start < next->size) /* block by block: memory takes only so many wishes at once */
                fetch(next->codes + start * scan->code_size, BLOCK_CODES * scan->code_size);
            if (!any_allowed(scan, part->row + start, count))
                continue;
            count_codes(scan, block, counts);
            uint32_t good = score(scan, &placed, block, counts, nearest->worst, scores);
            good &= UINT32_MAX >> (BLOCK_CODES - count);
            if (good)
                offer(scan, scores, good, part->row + start, nearest);
        }
    }
}

/* out = a b, of shapes (height, depth) and (depth, stride); sums run along the depth. */
BODY void multiply(const float *a, const float *b, float *out, size_t height, size_t depth, size_t stride) {
    for (size_t row = 0; row < height; row += 4) {
        size_t left = height - row; /* rows past the last are computed again from the last, and not stored */
        const float *lines[4] = {a + row * depth, a + (row + (left > 1 ? 1 : 0)) * depth,
                                 a + (row + (left > 2 ? 2 : 0)) * depth, a + (row + (left > 3 ? 3 : 0)) * depth};
        for (size_t column = 0; column < stride; column += LANES) {
            f32x8 sums[4] = {{0}, {0}, {0}, {0}};
            for (size_t k = 0; k < depth; k++) {
                f32x8 line;
                LOAD(line, b + k * stride + column);
                sums[0] += lines[0][k] * line;
                sums[1] += lines[1][k] * line;
                sums[2] += lines[2][k] * line;
                sums[3] += lines[3][k] * line;
            }
            for (size_t i = 0; i < 4 && i < left; i++)
                memcpy(out + (row + i) * stride + column, sums + i, sizeof *sums);
        }
    }
}

typedef void Multiply(const float *, const float *, float *, size_t, size_t, size_t);

BODY void rotate_body(const Turn *turn, float *row, Multiply *multiply) {
    float *first = turn->scratch, *second = first + turn->height * turn->stride;
    size_t slack = turn->dimension - turn->height * turn->width;
    for (size_t step = 0; step < turn->steps; step++) {
        float *part = step % 2 ? row + slack : row;
        for (size_t i = 0; i < turn->dimension; i++)
            row[i] *= turn->signs[step * turn->dimension + i];
        multiply(part, turn->right, first, turn->height, turn->width, turn->stride);
        multiply(turn->left, first, second, turn->height, turn->height, turn->stride);
        for (size_t line = 0; line < turn->height; line++)
            memcpy(part + line * turn->width, second + line * turn->stride, sizeof *row * turn->width);
    }
}

#endif
