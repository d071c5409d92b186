/* The kernels: what a vector query computes, free of Python. Callers have checked every size and every place.

Each kernel exists once, as an inlined body of plain C, and is compiled for several instruction sets. Sums are made
in a fixed order and multiplications are not fused with additions, so that all variants return the same bytes; for
rows that are encoded there is rotate_fma.h. */
#ifndef QUIVER_KERNELS_H
#define QUIVER_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "nearest.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "stored arrays are little-endian and are read in place"
#endif

#define MOST_COMPONENTS 65536
#define MOST_SCANNED 4096  /* components of rows with codes: their counts fit 16 bits */
#define FACTORS_SIZE 8     /* bytes of a code that are no signs: two floats */
#define BLOCK_CODES 32     /* codes that lie together */
#define LANES 8            /* partial sums of a distance */

/* One partition to scan: its blocks of codes, and the number of its first row. */
typedef struct {
    const uint8_t *codes;
    const float *origin;
    size_t size;
    uint64_t row;
} Part;

/* What is scanned. The query has zeros behind it up to 8 * steps numbers. Scratch, of zeros: `placed` for as many numbers and
`levels`, a byte for each, both for an even number of steps; `tables` of 32 bytes a step. */
typedef struct {
    const float *query;
    size_t dimension, steps, code_size;
    const Part *parts;
    size_t part_count, code_count;
    const uint8_t *allowed; /* a byte per row, or NULL */
    float *placed;
    uint8_t *levels, *tables;
} Scan;

/* An orthogonal map of `steps` steps over a grid of `height` x `width`; `stride` is the width in whole vectors.
`scratch` holds 2 * height * stride floats. */
typedef struct {
    const float *signs, *left, *right;
    size_t steps, dimension, height, width, stride;
    float *scratch;
} Turn;

typedef void Rotate(const Turn *, float *row);

/* One set of kernels. */
typedef struct {
    const char *name;
    /* Score the parts. */
    void (*scan)(const Scan *, Nearest *);
    Rotate *rotate;
    /* The query's components, in float64, are followed by zeros up to a whole number of lanes. `rows` may lie at any
    address. */
    void (*cosine)(const double *query, const uint8_t *const *rows, size_t count, size_t dimension, float *out);
    void (*euclidean)(const double *query, const uint8_t *const *rows, size_t count, size_t dimension, float *out);
    void (*norms)(const uint8_t *const *rows, size_t count, size_t dimension, float *out);
    /* Squared distance of byte rows: the sum of (base - scale * byte)^2; base and scale are padded like a query. */
    void (*refine)(const float *base, const float *scale, const uint8_t *const *rows, size_t count,
                   size_t dimension, float *out);
    /* Bounds of the scores of rows, summed in float32, whatever the order: ann/exact.py. The query, of euclidean norm
    `norm`, has zeros behind it as above. */
    void (*bound_cosine)(const float *query, double norm, const uint8_t *const *rows, size_t count, size_t dimension,
                         float *low, float *high);
    void (*bound_euclidean)(const float *query, const uint8_t *const *rows, size_t count, size_t dimension, float *low,
                            float *high);
    /* Squared distances in float32, for ranking: of rows that lie one behind the other. */
    void (*squares)(const float *query, const float *rows, size_t count, size_t dimension, float *out);
    /* Sums of products of a query with rows of bytes, which fit 32 bits; `width` is a multiple of SKETCH_WIDTH. */
    void (*products)(const int16_t *query, const int8_t *rows, size_t count, size_t width, int32_t *out);
} Kernels;

/* Those that this processor can run, the fastest last. */
extern const Kernels *const every_variant[];
int variants_here(void);

/* For rows that are encoded; it may round otherwise than `rotate` of the variants. */
Rotate *fastest_rotation(void);

#endif
