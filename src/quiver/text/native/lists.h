/* Posting lists: which rows hold a term, and how often. Stored bytes are untrusted; every function that reads them
   says whether they were consistent.

   A list of fewer than 128 postings is its postings as varints: twice the gap to the row before (rows between the
   two), plus one when another varint with the frequency follows; else that is 1.
   A longer one begins with a directory, an entry for each block of 128 and one for what remains, if anything does:
   last row (u32), end of the block from the end of the directory on (u32), largest frequency (u16), smallest length
   of a row (u16), smallest length of a row that holds the term more than once (u16). Blocks follow: width of the gaps (u8), width of the frequencies less 1 (u8), then both packed; and
   what remains as varints. */
#ifndef QUIVER_TEXT_LISTS_H
#define QUIVER_TEXT_LISTS_H

#include "bits.h"

#define ENTRY_SIZE 14
#define MOST_FREQUENCY 65535
#define NO_BLOCK SIZE_MAX

/* A list, and the block of it that is decoded. */
typedef struct {
    const uint8_t *directory, *data; /* no directory for a list of fewer than BLOCK postings */
    size_t size, frequency, rows;    /* bytes from `data` on; postings; rows of the segment */
    size_t blocks, decoded, count;
    uint32_t row[BLOCK], times[BLOCK];
} List;

typedef struct {
    uint32_t last, end;
    uint16_t most_times, least_length, least_of_more;
} Entry;

static inline Entry entry_at(const List *list, size_t block) {
    Entry entry;
    const uint8_t *place = list->directory + ENTRY_SIZE * block;
    memcpy(&entry.last, place, 4);
    memcpy(&entry.end, place + 4, 4);
    memcpy(&entry.most_times, place + 8, 2);
    memcpy(&entry.least_length, place + 10, 2);
    memcpy(&entry.least_of_more, place + 12, 2);
    return entry;
}

static inline uint32_t last_of(const List *list, size_t block) {
    uint32_t last;
    memcpy(&last, list->directory + ENTRY_SIZE * block, 4);
    return last;
}

/* A row that no row of the block comes before; one past the last of the block before. */
static inline size_t floor_of(const List *list, size_t block) {
    return block && list->directory ? (size_t)last_of(list, block - 1) + 1 : 0;
}

/* Begin to read; the directory is checked, and a short list decoded. */
int list_open(List *list, const uint8_t *bytes, size_t size, size_t frequency, size_t rows);

/* Decode a block, unless it is decoded. */
int list_decode(List *list, size_t block);

/* The first block from `block` on whose last row is `row` or later; `blocks` when there is none. */
size_t list_block_of(const List *list, size_t block, size_t row);

/* The first posting of the decoded block with this row or a later one; `count` when there is none. */
size_t list_place_of(const List *list, size_t row);

/* How often a row holds the term; -1 for inconsistent bytes. `block` is where to begin, and becomes where it may be. */
int64_t list_times(List *list, size_t *block, size_t row);

/* How many of some ascending rows are in the list; -1 for inconsistent bytes. */
int64_t list_overlap(List *list, const int64_t *rows, size_t count);

#endif
