/* Small vectors of numbers, which every compiler of the GNU family maps to what the processor has. */
#ifndef QUIVER_VECTORS_H
#define QUIVER_VECTORS_H

#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define BODY static inline __attribute__((always_inline))

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x8 __attribute__((vector_size(32)));
typedef double f64x4 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));

#define LINE 64 /* bytes that memory hands over at once */

/* Bytes from any address into a variable. */
#define LOAD(variable, address) memcpy(&(variable), (address), sizeof(variable))

/* The sum of eight partial sums, always in this order. */
#define TOTAL(low, high) \
    ((((low)[0] + (high)[0]) + ((low)[2] + (high)[2])) + (((low)[1] + (high)[1]) + ((low)[3] + (high)[3])))

#endif
