/* Many byte streams that grow side by side in one pool: each in slices that double in size and point to one another. */
#ifndef QUIVER_TEXT_POOL_H
#define QUIVER_TEXT_POOL_H

#include "inverter.h"

/* A reader of the postings of one term. */
typedef struct {
    const Inverter *inverter;
    uint64_t at;
    uint32_t left, next;
    uint8_t level;
} Stream;

/* Give a term its first slice; add the posting that is pending. False when there is no memory. */
int pool_begin(Inverter *inverter, Term *term);
int pool_put(Inverter *inverter, Term *term);

void pool_free(Inverter *inverter);

/* Read a term's postings one by one, as many as there are. */
Stream stream_open(const Inverter *inverter, const Term *term);
void stream_next(Stream *stream, uint32_t *row, uint32_t *times);

#endif
