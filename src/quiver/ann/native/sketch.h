/* A sketch of points: their components as bytes, a quarter of the memory, and how far each is from its bytes. It tells
which points cannot be near a query, so that the distances of only a few have to be computed. */
#ifndef QUIVER_SKETCH_H
#define QUIVER_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#define SKETCH_WIDTH 16  /* levels of a point are padded with zeros to a multiple of this */
#define MOST_LEVEL 127

/* What is known of a point x with levels a: it is `error` from step * a, at most; `square` is |step * a|^2. */
typedef struct {
    double step, square, error;
} Sketched;

/* Points and what of them may be looked at instead. `levels` are `count` rows of `width`. */
typedef struct {
    const float *points;
    const int8_t *levels;
    const Sketched *known;
    size_t count, dimension, width;
} Sketch;

static inline size_t sketch_width(size_t dimension) {
    return (dimension + SKETCH_WIDTH - 1) / SKETCH_WIDTH * SKETCH_WIDTH;
}

/* Make the levels of a point; false when it has components that are no numbers or too large. */
int sketch_point(const float *point, size_t dimension, int8_t *levels, Sketched *known);

/* How many bytes `sketch_candidates` needs to work in. */
size_t sketch_bytes(const Sketch *sketch);

/* Write the numbers of all points, ascending, that may be among those with squared distances, as the kernels compute
them in float32, up to a margin above the least, and of the nearest in any case; how many. `usual` as for `grown`. */
size_t sketch_candidates(const Sketch *sketch, const float *query, double margin, double usual, void *memory,
                         uint32_t *numbers);

/* A margin that grows with the distance, whose square this is, from the usual one on; as it is where that is 0. */
double grown(double margin, double square, double usual);

#endif
