/* Bytes that grow. */
#ifndef QUIVER_TEXT_BYTES_H
#define QUIVER_TEXT_BYTES_H

#include <stdlib.h>

#include "inverter.h"

/* Make room for some more items of an array; NULL when there is no memory. */
static inline void *grown(void *items, size_t *room, size_t needed, size_t size) {
    if (needed <= *room)
        return items;
    size_t larger = *room + *room / 2 > needed ? *room + *room / 2 : needed + 64;
    void *moved = realloc(items, larger * size);
    if (moved)
        *room = larger;
    return moved;
}

/* Where to write up to `most` bytes; NULL when there is no memory. */
static inline uint8_t *bytes_room(Bytes *bytes, size_t most) {
    uint8_t *moved = grown(bytes->bytes, &bytes->room, bytes->count + most + 1, 1); /* one more: room for nothing is not NULL */
    if (!moved)
        return NULL;
    bytes->bytes = moved;
    return moved + bytes->count;
}

static inline int bytes_add(Bytes *bytes, const void *added, size_t count) {
    uint8_t *place = bytes_room(bytes, count);
    if (!place)
        return 0;
    if (count)
        memcpy(place, added, count);
    bytes->count += count;
    return 1;
}

#endif
