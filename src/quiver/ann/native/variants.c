/* The kernels for each instruction set, and which of them this processor has. */
#include "distance.h"
#include "scan.h"
#ifdef __x86_64__
#include "rotate_fma.h"
#include "scan_avx2.h"
#endif

#define VARIANT(set, target, tabulate, count_codes)                                                               \
    target static void scan_##set(const Scan *scan, Nearest *nearest) {                                           \
        scan_body(scan, nearest, tabulate, count_codes);                                                          \
    }                                                                                                             \
    target static void rotate_##set(const Turn *turn, float *row) { rotate_body(turn, row, multiply); }                     \
    target static void cosine_##set(const double *query, const uint8_t *const *rows, size_t count,                \
                                    size_t dimension, float *out) {                                               \
        cosine_body(query, rows, count, dimension, out);                                                          \
    }                                                                                                             \
    target static void euclidean_##set(const double *query, const uint8_t *const *rows, size_t count,             \
                                       size_t dimension, float *out) {                                            \
        euclidean_body(query, rows, count, dimension, out);                                                       \
    }                                                                                                             \
    target static void norms_##set(const uint8_t *const *rows, size_t count, size_t dimension, float *out) {      \
        norms_body(rows, count, dimension, out);                                                                  \
    }                                                                                                             \
    target static void refine_##set(const float *base, const float *scale, const uint8_t *const *rows,            \
                                    size_t count, size_t dimension, float *out) {                                 \
        refine_body(base, scale, rows, count, dimension, out);                                                    \
    }                                                                                                             \
    target static void bound_cosine_##set(const float *query, double norm, const uint8_t *const *rows, size_t count,  \
                                          size_t dimension, float *low, float *high) {                            \
        bound_cosine_body(query, norm, rows, count, dimension, low, high);                                        \
    }                                                                                                             \
    target static void bound_euclidean_##set(const float *query, const uint8_t *const *rows, size_t count,        \
                                             size_t dimension, float *low, float *high) {                         \
        bound_euclidean_body(query, rows, count, dimension, low, high);                                           \
    }                                                                                                             \
    target static void squares_##set(const float *query, const float *rows, size_t count, size_t dimension,       \
                                     float *out) {                                                                \
        squares_body(query, rows, count, dimension, out);                                                         \
    }                                                                                                             \
    target static void products_##set(const int16_t *query, const int8_t *rows, size_t count, size_t width,       \
                                      int32_t *out) {                                                             \
        products_body(query, rows, count, width, out);                                                            \
    }                                                                                                             \
    static const Kernels kernels_##set = {#set,                                                                    \
                                          scan_##set,                                                             \
                                          rotate_##set,                                                           \
                                          cosine_##set,                                                           \
                                          euclidean_##set,                                                        \
                                          norms_##set,                                                            \
                                          refine_##set,                                                           \
                                          bound_cosine_##set,                                                     \
                                          bound_euclidean_##set,                                                  \
                                          squares_##set,                                                           \
                                          products_##set};

VARIANT(plain, , tabulate_plain, count_plain)

#ifdef __x86_64__
VARIANT(avx2, AVX2, tabulate_avx2, count_avx2)
const Kernels *const every_variant[] = {&kernels_plain, &kernels_avx2};

int variants_here(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? 2 : 1;
}

FMA static void rotate_fused(const Turn *turn, float *row) {
    rotate_body(turn, row, multiply_fused);
}

Rotate *fastest_rotation(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? rotate_fused : rotate_plain;
}
#else
const Kernels *const every_variant[] = {&kernels_plain};

int variants_here(void) {
    return 1;
}

Rotate *fastest_rotation(void) {
    return rotate_plain;
}
#endif
