/* The nearest rows seen so far. An entry is a score and a row number in one number, which orders by score, then by
row. Entries are gathered in room for twice as many as are wanted; when it is full, the nearest are kept. */
#ifndef QUIVER_NEAREST_H
#define QUIVER_NEAREST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MOST_ROWS ((int64_t)1 << 32) /* whose numbers fit an entry */
#define SLACK 32                     /* entries that may be added before the room is looked at again */

/* `entries` has room for `room` entries, and for as many again to sort them. No score above `worst` is wanted. */
typedef struct {
    uint64_t *entries;
    size_t limit, room, count;
    float worst;
} Nearest;

/* How many entries have to be gathered to find `limit`, and how many bytes they take. */
static inline size_t nearest_room(size_t limit) {
    return 2 * limit + SLACK;
}

static inline size_t nearest_bytes(size_t limit) {
    return 2 * nearest_room(limit) * sizeof(uint64_t);
}

static inline Nearest nearest_in(void *memory, size_t limit) {
    return (Nearest){memory, limit, nearest_room(limit), 0, limit ? INFINITY : -INFINITY};
}

static inline uint64_t entry_of(float score, uint32_t row) {
    uint32_t bits;
    score = (score == score ? score : INFINITY) + 0.0f; /* damaged numbers come last; the sum has no negative zero */
    memcpy(&bits, &score, sizeof bits);
    bits ^= (uint32_t)((int32_t)bits >> 31) | 0x80000000u; /* numbers ascend now as scores do */
    return (uint64_t)bits << 32 | row;
}

static inline float entry_score(uint64_t entry) {
    uint32_t bits = (uint32_t)(entry >> 32);
    float score;
    bits ^= (uint32_t)((int32_t)~bits >> 31) | 0x80000000u;
    memcpy(&score, &bits, sizeof score);
    return score;
}

/* Keep the nearest of the entries gathered so far. */
void nearest_shrink(Nearest *);

/* Make room for `SLACK` more. */
static inline void nearest_ready(Nearest *nearest) {
    if (nearest->room - nearest->count < SLACK)
        nearest_shrink(nearest);
}

/* Write the nearest, ascending; how many there are. `scores` may be NULL. */
size_t nearest_take(Nearest *, int64_t *rows, float *scores);

/* The greatest of the `number` least of some values, of which there are as many; those that are no numbers count as
infinite. `memory` has `nearest_bytes(number)`. */
float nearest_last(const float *values, size_t count, size_t number, void *memory);

#endif
