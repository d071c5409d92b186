/* Distances of float32 rows in float64; for ranking only, in float32; and of byte rows: bodies that variants.c compiles.

A sum has eight lanes: component i belongs to lane i mod 8, and missing components are zero. So a row's distance
depends on nothing but the row and the query. */
#ifndef QUIVER_DISTANCE_H
#define QUIVER_DISTANCE_H

#include <float.h>
#include <math.h>

#include "sketch.h"
#include "vectors.h"

#define AHEAD 2               /* rows whose bytes are asked for before they are needed */
#define PAGES_AHEAD 6         /* after those, rows whose places in memory are looked up meanwhile */
#define TAME_LEAST 1e-24      /* squared lengths of which float32 holds sums of products well */
#define TAME_MOST 1e24
#define GRID 0x1p46           /* steps of a cosine distance in one: ann/distance.py */

/* The row to ask for while a row is worked on, line by line: all its lines at once would stand in the way of what the
work itself waits for. Where one further on is, is looked up. */
BODY const uint8_t *row_ahead(const uint8_t *const *rows, size_t number, size_t count) {
    if (number + AHEAD + PAGES_AHEAD < count)
        __builtin_prefetch(rows[number + AHEAD + PAGES_AHEAD]);
    return rows[number + AHEAD < count ? number + AHEAD : count - 1];
}

/* Eight components of a row. */
BODY void load_eight(const uint8_t *row, f64x4 *low, f64x4 *high) {
    f32x4 first, last;
    LOAD(first, row);
    LOAD(last, row + sizeof first);
    *low = (f64x4){first[0], first[1], first[2], first[3]}; /* becomes one instruction, as a conversion does not */
    *high = (f64x4){last[0], last[1], last[2], last[3]};
}

/* The last components of a row, fewer than eight, and zeros. */
BODY void load_last(const uint8_t *row, size_t at, size_t dimension, float *eight) {
    memset(eight, 0, LANES * sizeof *eight);
    memcpy(eight, row + 4 * at, 4 * (dimension - at));
}

BODY float capped(double distance) {
    return distance > FLT_MAX ? FLT_MAX : (float)distance;
}

/* Of the query, summed as the rows are. */
BODY double query_square(const double *query, size_t dimension) {
    f64x4 sums[2] = {{0}, {0}};
    for (size_t at = 0; at < dimension; at += LANES) {
        f64x4 low, high;
        LOAD(low, query + at);
        LOAD(high, query + at + 4);
        sums[0] += low * low;
        sums[1] += high * high;
    }
    return TOTAL(sums[0], sums[1]);
}

BODY float cosine_distance(double product, double square, double other_square) {
    double distance = rint((1.0 - product / sqrt(square * other_square)) * GRID) / GRID;
    distance = distance < 0 ? 0 : distance;
    return (float)(distance > 2 ? 2 : distance);
}

BODY void cosine_eight(const double *query, const uint8_t *row, f64x4 *squares, f64x4 *products) {
    f64x4 low, high, query_low, query_high;
    load_eight(row, &low, &high);
    LOAD(query_low, query);
    LOAD(query_high, query + 4);
    squares[0] += low * low;
    squares[1] += high * high;
    products[0] += low * query_low;
    products[1] += high * query_high;
}

BODY void cosine_body(const double *query, const uint8_t *const *rows, size_t count, size_t dimension, float *out) {
    double other_square = query_square(query, dimension);
    for (size_t number = 0; number < count; number++) {
        f64x4 squares[2] = {{0}, {0}}, products[2] = {{0}, {0}};
        float last[LANES];
        size_t at = 0;
        const uint8_t *ahead = row_ahead(rows, number, count);
        for (; at + LANES <= dimension; at += LANES) {
            __builtin_prefetch(ahead + 4 * at);
            cosine_eight(query + at, rows[number] + 4 * at, squares, products);
        }
        if (at < dimension) {
            load_last(rows[number], at, dimension, last);
            cosine_eight(query + at, (const uint8_t *)last, squares, products);
        }
        out[number] = cosine_distance(TOTAL(products[0], products[1]), TOTAL(squares[0], squares[1]), other_square);
    }
}

BODY void euclidean_eight(const double *query, const uint8_t *row, f64x4 *sums) {
    f64x4 low, high, query_low, query_high;
    load_eight(row, &low, &high);
    LOAD(query_low, query);
    LOAD(query_high, query + 4);
    low -= query_low;
    high -= query_high;
    sums[0] += low * low;
    sums[1] += high * high;
}

BODY void euclidean_body(const double *query, const uint8_t *const *rows, size_t count, size_t dimension,
                         float *out) {
    for (size_t number = 0; number < count; number++) {
        f64x4 sums[2] = {{0}, {0}};
        float last[LANES];
        size_t at = 0;
        const uint8_t *ahead = row_ahead(rows, number, count);
        for (; at + LANES <= dimension; at += LANES) {
            __builtin_prefetch(ahead + 4 * at);
            euclidean_eight(query + at, rows[number] + 4 * at, sums);
        }
        if (at < dimension) {
            load_last(rows[number], at, dimension, last);
            euclidean_eight(query + at, (const uint8_t *)last, sums);
        }
        out[number] = capped(sqrt(TOTAL(sums[0], sums[1])));
    }
}

BODY void norm_eight(const uint8_t *row, f64x4 *sums) {
    f64x4 low, high;
    load_eight(row, &low, &high);
    sums[0] += low * low;
    sums[1] += high * high;
}

BODY void norms_body(const uint8_t *const *rows, size_t count, size_t dimension, float *out) {
    for (size_t number = 0; number < count; number++) {
        f64x4 sums[2] = {{0}, {0}};
        float last[LANES];
        size_t at = 0;
        const uint8_t *ahead = row_ahead(rows, number, count);
        for (; at + LANES <= dimension; at += LANES) {
            __builtin_prefetch(ahead + 4 * at);
            norm_eight(rows[number] + 4 * at, sums);
        }
        if (at < dimension) {
            load_last(rows[number], at, dimension, last);
            norm_eight((const uint8_t *)last, sums);
        }
        out[number] = capped(sqrt(TOTAL(sums[0], sums[1])));
    }
}

BODY float total_of(const f32x8 *sums) {
    f32x8 all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    f32x4 halves[2];
    memcpy(halves, &all, sizeof halves);
    return TOTAL(halves[0], halves[1]);
}

/* Add the squared gaps of eight coordinates of a row of bytes. */
BODY void refine_eight(const float *base, const float *scale, const uint8_t *row, f32x8 *sum) {
    i32x8 levels;
    f32x8 from, by;
    for (int lane = 0; lane < LANES; lane++)
        levels[lane] = row[lane]; /* becomes one instruction, as a conversion does not */
    LOAD(from, base);
    LOAD(by, scale);
    from -= by * __builtin_convertvector(levels, f32x8);
    *sum += from * from;
}

BODY void refine_body(const float *base, const float *scale, const uint8_t *const *rows, size_t count,
                      size_t dimension, float *out) {
    for (size_t number = 0; number < count; number++) {
        f32x8 sums[4] = {{0}};
        uint8_t last[LANES] = {0};
        const uint8_t *row = rows[number];
        size_t at = 0;
        const uint8_t *ahead = row_ahead(rows, number, count);
        for (; at + 4 * LANES <= dimension; at += 4 * LANES) {
            __builtin_prefetch(ahead + at);
            for (int lane = 0; lane < 4; lane++)
                refine_eight(base + at + lane * LANES, scale + at + lane * LANES, row + at + lane * LANES, sums + lane);
        }
        for (; at + LANES <= dimension; at += LANES)
            refine_eight(base + at, scale + at, row + at, sums);
        if (at < dimension) {
            memcpy(last, row + at, dimension - at);
            refine_eight(base + at, scale + at, last, sums);
        }
        out[number] = total_of(sums);
    }
}

/* How far a sum in float32 may be from the true one, in shares of the sum of magnitudes: ann/exact.py. */
BODY double sum_error(size_t dimension) {
    return ((double)dimension + 16) * 0x1p-24 * 1.01;
}

/* Eight components of a row at any address, where there are fewer with zeros behind them. */
BODY void load_part(const uint8_t *row, size_t at, size_t dimension, f32x8 *part) {
    *part = (f32x8){0};
    memcpy(part, row + 4 * at, 4 * (dimension - at));
}

BODY void cosine_part(const f32x8 *part, const float *query, f32x8 *product, f32x8 *square) {
    f32x8 asked;
    LOAD(asked, query);
    *product += *part * asked;
    *square += *part * *part;
}

BODY void euclidean_part(const f32x8 *part, const float *query, f32x8 *sum) {
    f32x8 gap;
    LOAD(gap, query);
    gap = *part - gap;
    *sum += gap * gap;
}

/* Rows whose length float32 does not hold well are anywhere. */
BODY void bound_cosine_body(const float *query, double norm, const uint8_t *const *rows, size_t count,
                            size_t dimension, float *low, float *high) {
    double error = 1.5 * sum_error(dimension); /* of the product, and half as much of the length */
    for (size_t number = 0; number < count; number++) {
        f32x8 products[4] = {{0}}, squares[4] = {{0}}, part;
        size_t at = 0;
        const uint8_t *ahead = row_ahead(rows, number, count);
        for (; at + 4 * LANES <= dimension; at += 4 * LANES)
            for (int lane = 0; lane < 4; lane++) {
                __builtin_prefetch(ahead + 4 * (at + lane * LANES));
                LOAD(part, rows[number] + 4 * (at + lane * LANES));
                cosine_part(&part, query + at + lane * LANES, products + lane, squares + lane);
            }
        for (; at + LANES <= dimension; at += LANES) {
            LOAD(part, rows[number] + 4 * at);
            cosine_part(&part, query + at, products, squares);
        }
        if (at < dimension) {
            load_part(rows[number], at, dimension, &part);
            cosine_part(&part, query + at, products, squares);
        }
        double square = total_of(squares), estimate = 1.0 - total_of(products) / (sqrt(square) * norm);
        int tame = square > TAME_LEAST && square < TAME_MOST;
        low[number] = tame ? (float)(estimate - error) : -INFINITY;
        high[number] = tame ? (float)(estimate + error) : INFINITY;
    }
}

/* The differences are good to a unit in the last place, so the error is a share of the sum itself. */
BODY void bound_euclidean_body(const float *query, const uint8_t *const *rows, size_t count, size_t dimension,
                               float *low, float *high) {
    double error = sum_error(dimension), least = (double)dimension * FLT_MIN; /* squares may vanish */
    for (size_t number = 0; number < count; number++) {
        f32x8 sums[4] = {{0}}, part;
        size_t at = 0;
        const uint8_t *ahead = row_ahead(rows, number, count);
        for (; at + 4 * LANES <= dimension; at += 4 * LANES)
            for (int lane = 0; lane < 4; lane++) {
                __builtin_prefetch(ahead + 4 * (at + lane * LANES));
                LOAD(part, rows[number] + 4 * (at + lane * LANES));
                euclidean_part(&part, query + at + lane * LANES, sums + lane);
            }
        for (; at + LANES <= dimension; at += LANES) {
            LOAD(part, rows[number] + 4 * at);
            euclidean_part(&part, query + at, sums);
        }
        if (at < dimension) {
            load_part(rows[number], at, dimension, &part);
            euclidean_part(&part, query + at, sums);
        }
        double square = total_of(sums);
        int tame = square < TAME_MOST;
        low[number] = tame ? (float)(square * (1 - error) - least) : -INFINITY;
        high[number] = tame ? (float)(square * (1 + error) + least) : INFINITY;
    }
}

/* Eight components of a float32 row, as load_eight. */
BODY void load_floats(const float *row, size_t at, size_t dimension, f32x8 *loaded) {
    size_t left = dimension - at;
    if (left >= LANES)
        memcpy(loaded, row + at, sizeof *loaded);
    else
        memcpy(loaded, row + at, sizeof *row * left);
}

/* Four sums at a time, because one would wait for its last addition. */
BODY void squares_body(const float *query, const float *rows, size_t count, size_t dimension, float *out) {
    for (const float *row = rows; count--; row += dimension) {
        f32x8 sums[4] = {{0}};
        size_t at = 0;
        for (; at + 4 * LANES <= dimension; at += 4 * LANES)
            for (int lane = 0; lane < 4; lane++) {
                f32x8 from, to;
                LOAD(from, row + at + lane * LANES);
                LOAD(to, query + at + lane * LANES);
                from -= to;
                sums[lane] += from * from;
            }
        for (; at < dimension; at += LANES) {
            f32x8 from = {0}, to = {0};
            load_floats(row, at, dimension, &from);
            load_floats(query, at, dimension, &to);
            from -= to;
            sums[0] += from * from;
        }
        *out++ = total_of(sums);
    }
}

/* Four rows at a time share what is loaded of the query. Integers: sums in any order are the same. */
BODY void products_body(const int16_t *query, const int8_t *rows, size_t count, size_t width, int32_t *out) {
    size_t steps = width / SKETCH_WIDTH * SKETCH_WIDTH, number = 0;
    for (; number + 4 <= count; number += 4, rows += 4 * width) {
        int32_t sums[4] = {0};
        for (size_t i = 0; i < steps; i++) {
            sums[0] += (int16_t)rows[i] * (int32_t)query[i];
            sums[1] += (int16_t)rows[width + i] * (int32_t)query[i];
            sums[2] += (int16_t)rows[2 * width + i] * (int32_t)query[i];
            sums[3] += (int16_t)rows[3 * width + i] * (int32_t)query[i];
        }
        memcpy(out + number, sums, sizeof sums);
    }
    for (; number < count; number++, rows += width) {
        int32_t sum = 0;
        for (size_t i = 0; i < steps; i++)
            sum += (int16_t)rows[i] * (int32_t)query[i];
        out[number] = sum;
    }
}

#endif
