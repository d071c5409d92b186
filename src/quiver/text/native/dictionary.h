/* Where a term's list is: blocks of terms in ascending order of their bytes. Stored bytes are untrusted.

   A block is the place of its first list (u64) and, for each term, varints and bytes: how many bytes it shares with the
   term before, how many follow, these, how many rows hold it, how long its list is. */
#ifndef QUIVER_TEXT_DICTIONARY_H
#define QUIVER_TEXT_DICTIONARY_H

#include "bits.h"

typedef struct {
    uint64_t frequency, start, end; /* the list is the bytes [start, end) of the body; no frequency when there is none */
} Found;

/* Look a term up in its block; false when the bytes are inconsistent. */
int dictionary_find(const uint8_t *block, size_t size, const uint8_t *term, size_t term_size, Found *found);

/* The last of some ascending separators that is not after the term, which ends at `ends[i]`; -1 when there is none,
   and when the ends are inconsistent. */
int64_t dictionary_block(const uint8_t *separators, size_t size, const uint8_t *ends, size_t count,
                         const uint8_t *term, size_t term_size);

#endif
