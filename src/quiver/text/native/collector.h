/* The best hits so far, and all that tie with the last of them. */
#ifndef QUIVER_TEXT_COLLECTOR_H
#define QUIVER_TEXT_COLLECTOR_H

#include "search.h"

static inline int collector_full(const Collector *collector) {
    return collector->held == collector->limit;
}

/* False when there is no memory. */
int collector_begin(Collector *collector, size_t limit);
int collector_offer(Collector *collector, double score, int64_t row);

/* Leave only what is asked for, in order. */
void collector_end(Collector *collector);

#endif
