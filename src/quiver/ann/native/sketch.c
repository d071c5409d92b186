/* See sketch.h. With q ~ t * b and x ~ s * a, for integers b and a, |q - x| differs from |t * b - s * a| by no more
than the two errors (the triangle inequality), and the product of a and b is exact. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "faces.h"
#include "sketch.h"

#define MOST_COMPONENT 1e15f /* squared distances of such points are numbers in float32 */
#define LEAST_COMPONENT 1e-15f
#define ROUNDING 1e-7        /* of a distance, in shares of the lengths: far more than float64 takes off their squares */

/* The greatest magnitude; not a number where a component is none, since those have the greatest bits. */
static float peak_of(const float *numbers, size_t count) {
    int32_t peak = 0;
    float magnitude;
    for (size_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, numbers + i, sizeof bits);
        bits &= INT32_MAX;
        peak = bits > peak ? bits : peak;
    }
    memcpy(&magnitude, &peak, sizeof magnitude);
    return magnitude;
}

static int32_t rounded(float number) {
    return (int32_t)(number + copysignf(0.5f, number));
}

int sketch_point(const float *point, size_t dimension, int8_t *levels, Sketched *known) {
    float peak = peak_of(point, dimension);
    if (!(peak <= MOST_COMPONENT))
        return 0;
    float per = peak > LEAST_COMPONENT ? MOST_LEVEL / peak : 0;
    double step = (double)peak / MOST_LEVEL, gaps = 0;
    int64_t square = 0;
    memset(levels, 0, sketch_width(dimension));
    for (size_t i = 0; i < dimension; i++) {
        int32_t level = rounded(point[i] * per);
        level = level > MOST_LEVEL ? MOST_LEVEL : level < -MOST_LEVEL ? -MOST_LEVEL : level;
        double gap = point[i] - step * level;
        levels[i] = (int8_t)level;
        gaps += gap * gap;
        square += level * level;
    }
    double length = step * sqrt((double)square);
    *known = (Sketched){step, step * step * (double)square, sqrt(gaps) * (1 + ROUNDING) + ROUNDING * length};
    return 1;
}

/* A query of whole numbers, padded with zeros, whose products with levels fit 32 bits. */
typedef struct {
    int16_t *levels;
    Sketched known;
} Asked;

static Asked ask(const float *query, size_t dimension, size_t width, int16_t *levels) {
    Asked asked = {levels, {0, 0, 0}};
    size_t room = INT32_MAX / (MOST_LEVEL + 1) / width; /* whatever the bytes are */
    float most = room < INT16_MAX ? (float)room : (float)INT16_MAX, peak = peak_of(query, dimension);
    float per = peak > LEAST_COMPONENT ? (most - 1) / peak : 0; /* rounding up does not reach the most */
    double step = (double)peak / (most - 1), gaps = 0, square = 0;
    memset(levels, 0, width * sizeof *levels);
    for (size_t i = 0; i < dimension; i++) {
        int32_t level = rounded(query[i] * per);
        double gap = query[i] - step * level;
        levels[i] = (int16_t)level;
        gaps += gap * gap;
        square += (double)level * level;
    }
    asked.known = (Sketched){step, step * step * square, sqrt(gaps) * (1 + ROUNDING) + ROUNDING * step * sqrt(square)};
    return asked;
}

double grown(double margin, double square, double usual) {
    double away = sqrt(square);
    return usual > 0 && away > usual && away < INFINITY ? margin * (away / usual) : margin;
}

size_t sketch_bytes(const Sketch *sketch) {
    return sketch->count * (sizeof(double) + sizeof(int32_t)) + sketch->width * sizeof(int16_t);
}

static size_t all_of(size_t count, uint32_t *numbers) {
    for (size_t i = 0; i < count; i++)
        numbers[i] = (uint32_t)i;
    return count;
}

/* The squared distances of what stands for the points from what stands for the query; the number of the least. */
static size_t estimate(const Sketch *sketch, const Asked *asked, const int32_t *products, double *squares) {
    size_t least = 0;
    for (size_t i = 0; i < sketch->count; i++) {
        const Sketched *known = sketch->known + i;
        squares[i] = asked->known.square + known->square - 2 * asked->known.step * known->step * products[i];
    }
    for (size_t i = 1; i < sketch->count; i++)
        least = squares[i] < squares[least] ? i : least;
    return least;
}

/* The greatest squared distance that is near enough, if the least is that of a point up to so far away. */
static double bound_of(double away, size_t dimension, double margin, double usual) {
    double error = ((double)dimension + 16) * 0x1p-24 * 1.01; /* of float32, as in distance.h */
    double vanished = (double)dimension * FLT_MIN, least = away * away * (1 + error) + vanished;
    double most = (least + grown(margin, least, usual)) * (1 + 0x1p-22);
    return ((most > least ? most : least) + vanished) / (1 - error);
}

size_t sketch_candidates(const Sketch *sketch, const float *query, double margin, double usual, void *memory,
                         uint32_t *numbers) {
    if (!sketch->count || !(peak_of(query, sketch->dimension) <= MOST_COMPONENT))
        return all_of(sketch->count, numbers);
    double *squares = memory;
    int32_t *products = (int32_t *)(squares + sketch->count);
    Asked asked = ask(query, sketch->dimension, sketch->width, (int16_t *)(products + sketch->count));
    kernels->products(asked.levels, sketch->levels, sketch->count, sketch->width, products);
    size_t least = estimate(sketch, &asked, products, squares), found = 0;
    double nearest = squares[least] > 0 ? sqrt(squares[least]) : 0;
    double away = nearest + asked.known.error + sketch->known[least].error;
    double most = sqrt(bound_of(away, sketch->dimension, margin, usual)) + asked.known.error;
    for (size_t i = 0; i < sketch->count; i++) {
        double reach = most + sketch->known[i].error;
        numbers[found] = (uint32_t)i;
        found += !(squares[i] > reach * reach);
    }
    return found;
}
