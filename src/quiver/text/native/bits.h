/* Numbers in few bits: 128 of them packed to one width, and single ones as varints. */
#ifndef QUIVER_TEXT_BITS_H
#define QUIVER_TEXT_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "stored numbers are little-endian and are read in place"
#endif

#define BLOCK 128 /* postings of a full block */
#define MOST_VARINT 10

typedef uint32_t Lanes __attribute__((vector_size(16)));

static inline unsigned width_of(uint32_t largest) {
    return largest ? 32 - (unsigned)__builtin_clz(largest) : 0;
}

static inline size_t packed_size(unsigned width) {
    return BLOCK / 8 * (size_t)width;
}

/* Number i is in lane i % 4, at bit width * (i / 4) of that lane's words. */
static inline void pack_block(const uint32_t *values, unsigned width, uint8_t *out) {
    memset(out, 0, packed_size(width));
    for (unsigned i = 0; i < BLOCK; i++) {
        unsigned bit = width * (i / 4), shift = bit % 32;
        uint8_t *place = out + 16 * (bit / 32) + 4 * (i % 4);
        uint32_t word;
        if (!width)
            return;
        memcpy(&word, place, 4);
        word |= values[i] << shift;
        memcpy(place, &word, 4);
        if (shift + width > 32) {
            memcpy(&word, place + 16, 4);
            word |= values[i] >> (32 - shift);
            memcpy(place + 16, &word, 4);
        }
    }
}

static inline __attribute__((always_inline)) void unpack_width(const uint8_t *in, uint32_t *out, unsigned width) {
    const uint32_t mask = width < 32 ? (1u << width) - 1 : ~0u;
    for (unsigned i = 0; i < BLOCK / 4; i++) {
        unsigned bit = width * i, shift = bit % 32;
        Lanes low = {0}, high = {0};
        if (width)
            memcpy(&low, in + 16 * (bit / 32), 16);
        low >>= shift;
        if (shift + width > 32) {
            memcpy(&high, in + 16 * (bit / 32 + 1), 16);
            low |= high << (32 - shift);
        }
        low &= mask;
        memcpy(out + 4 * i, &low, 16);
    }
}

#define UNPACK(width) case width: unpack_width(in, out, width); break;
#define UNPACK_4(width) UNPACK(width) UNPACK(width + 1) UNPACK(width + 2) UNPACK(width + 3)

/* The width is at most 32; each has code of its own, without a branch. */
static inline void unpack_block(const uint8_t *in, uint32_t *out, unsigned width) {
    switch (width) {
        UNPACK_4(0) UNPACK_4(4) UNPACK_4(8) UNPACK_4(12) UNPACK_4(16) UNPACK_4(20) UNPACK_4(24) UNPACK_4(28)
        UNPACK(32)
    }
}

/* Seven bits a byte, the lowest first; the byte after the last. */
static inline uint8_t *put_varint(uint8_t *out, uint64_t value) {
    for (; value > 0x7f; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

/* The byte after the number; NULL when it is longer than the bytes, or than 63 bits. */
static inline const uint8_t *get_varint(const uint8_t *in, const uint8_t *end, uint64_t *value) {
    uint64_t read = 0;
    for (unsigned shift = 0; in < end && shift < 63; shift += 7) {
        uint8_t byte = *in++;
        read |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = read;
            return in;
        }
    }
    return NULL;
}

#endif
