/* The scan of 1-bit RaBitQ codes and the rotation of a query: bodies that variants.c compiles.

A code is the signs of a rotated residual r = row - origin, a bit each, then |r|^2 and f = |r|^2 sqrt(d) / sum |r_i|
as float32. With q = query - origin, rotated, the squared distance is estimated as

    |r|^2 + |q|^2 - 2 f / sqrt(d) * sum(sign_i q_i)

q_i is rounded to one of the 16 levels v = -15, -13 ... 15 times |q|_max / 15. Level v is the sum of four signs times
1, 2, 4 and 8, so that sum(sign_i v_i) follows from counting the bits in which the code differs from four planes of
bits. */
#ifndef QUIVER_SCAN_H
#define QUIVER_SCAN_H

#include <math.h>

#include "vectors.h"

#define LEVELS (1 << QUERY_BITS)
#define CHUNK 128 /* codes that are counted before they are scored */
#define LEAST_PEAK 1e-30f
#define MOST_PEAK 1e30f

/* What the estimates of a partition share: |q|^2, and twice the product of f with the signs as at - per * differing. */
typedef struct {
    float square, at, per;
} Placed;

/* How a variant rounds `placed` * `scale` to levels, as planes; and counts the bits in which `count` codes of a part,
picked by number, differ from the planes, weighted. */
typedef void (*Cut)(const Scan *scan, float scale);
typedef void (*Count)(const Scan *scan, const Part *part, const uint32_t *picked, size_t count, uint32_t *counts);

/* The bits `plane` of eight bytes, the first byte's lowest. */
BODY uint64_t pick_bits(uint64_t bytes, int plane) {
    return (((bytes >> plane) & 0x0101010101010101u) * 0x0102040810204080u) >> 56;
}

BODY void cut_words(const Scan *scan, float scale) {
    for (size_t word = 0; word < scan->words; word++) {
        uint64_t planes[QUERY_BITS] = {0};
        for (int byte = 0; byte < 8; byte++) {
            const float *placed = scan->placed + 64 * word + 8 * byte;
            uint8_t bytes[8];
            uint64_t levels;
            for (int i = 0; i < 8; i++)
                bytes[i] = (uint8_t)(int32_t)(placed[i] * scale + LEVELS / 2);
            LOAD(levels, bytes);
            for (int plane = 0; plane < QUERY_BITS; plane++)
                planes[plane] |= pick_bits(levels, plane) << (8 * byte);
        }
        for (int plane = 0; plane < QUERY_BITS; plane++)
            scan->planes[plane * scan->plane_words + word] = planes[plane];
    }
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

BODY Placed place(const Scan *scan, const float *origin, Cut cut) {
    i32x8 most = {0};
    f32x8 sums = {0};
    for (size_t at = 0; at < scan->dimension; at += LANES) {
        f32x8 part, from;
        LOAD(part, scan->query + at);
        load_some(&from, origin, at, scan->dimension);
        part -= from;
        memcpy(scan->placed + at, &part, sizeof part);
        sums += part * part;
        i32x8 magnitude = (i32x8)part & INT32_MAX; /* magnitudes are ordered as their bits are */
        i32x8 larger = magnitude > most;
        most = (magnitude & larger) | (most & ~larger);
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
    cut(scan, scale);
    f32x4 halves[2];
    memcpy(halves, &sums, sizeof halves);
    return (Placed){TOTAL(halves[0], halves[1]), 2 * peak * root, 4 * peak / ((LEVELS - 1) * root)};
}

/* Reads whole words: two floats follow the signs of a code. */
BODY uint32_t differing(const Scan *scan, const uint8_t *code) {
    uint64_t counts[QUERY_BITS] = {0}, signs, mask = ~(uint64_t)0 >> (-scan->dimension & 63);
    const uint64_t *planes = scan->planes;
    size_t stride = scan->plane_words, last = scan->words - 1;
    for (size_t word = 0; word < last; word++) {
        LOAD(signs, code + 8 * word);
        for (int plane = 0; plane < QUERY_BITS; plane++)
            counts[plane] += (uint64_t)__builtin_popcountll(signs ^ planes[plane * stride + word]);
    }
    LOAD(signs, code + 8 * last);
    for (int plane = 0; plane < QUERY_BITS; plane++)
        counts[plane] += (uint64_t)__builtin_popcountll((signs ^ planes[plane * stride + last]) & mask);
    return (uint32_t)(counts[0] + 2 * counts[1] + 4 * counts[2] + 8 * counts[3]);
}

BODY void count_words(const Scan *scan, const Part *part, const uint32_t *picked, size_t count, uint32_t *counts) {
    for (size_t i = 0; i < count; i++)
        counts[i] = differing(scan, part->codes + picked[i] * scan->code_size);
}

BODY uint64_t row_number(const Scan *scan, const Part *part, size_t number) {
    uint64_t row;
    LOAD(row, part->codes + part->size * scan->code_size + ROW_NUMBER_SIZE * number);
    return row;
}

/* The numbers of the codes in [start, end) whose rows are allowed; a row out of range is, and is refused later. */
BODY size_t pick(const Scan *scan, const Part *part, size_t start, size_t end, uint32_t *picked) {
    size_t count = 0;
    for (size_t number = start; number < end; number++) {
        picked[count] = (uint32_t)number;
        if (scan->allowed) {
            uint64_t row = row_number(scan, part, number);
            count += row >= scan->rows || scan->allowed[row];
        } else
            count++;
    }
    return count;
}

/* Score picked codes; false when a row number is out of range. */
BODY int offer(const Scan *scan, const Part *part, const Placed *placed, const uint32_t *picked, size_t count,
               const uint32_t *counts, Nearest *nearest) {
    float worst = nearest->count < nearest->limit ? INFINITY : nearest->scores[0];
    for (size_t i = 0; i < count; i++) {
        float factors[2];
        LOAD(factors, part->codes + picked[i] * scan->code_size + (scan->code_size - FACTORS_SIZE));
        float score = (factors[0] + placed->square) - factors[1] * (placed->at - placed->per * (float)(int32_t)counts[i]);
        if (score > worst)
            continue;
        uint64_t row = row_number(scan, part, picked[i]);
        if (row >= scan->rows)
            return 0;
        nearest_offer(nearest, score, (int64_t)row);
        worst = nearest->count < nearest->limit ? INFINITY : nearest->scores[0];
    }
    return 1;
}

BODY int scan_body(const Scan *scan, Nearest *nearest, Cut cut, Count count_codes) {
    uint32_t picked[CHUNK], counts[CHUNK];
    for (const Part *part = scan->parts; nearest->limit && part < scan->parts + scan->part_count; part++) {
        if (!part->size)
            continue;
        Placed placed = place(scan, part->origin, cut);
        for (size_t start = 0; start < part->size; start += CHUNK) {
            size_t end = part->size - start < CHUNK ? part->size : start + CHUNK;
            size_t count = pick(scan, part, start, end, picked);
            count_codes(scan, part, picked, count, counts);
            if (!offer(scan, part, &placed, picked, count, counts, nearest))
                return 0;
        }
    }
    nearest_sort(nearest);
    return 1;
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

BODY void rotate_body(const Turn *turn, float *row) {
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
