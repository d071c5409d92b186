/* BM25 over the posting lists of one field, free of Python. Callers have checked every size and every number. */
#ifndef QUIVER_TEXT_SEARCH_H
#define QUIVER_TEXT_SEARCH_H

#include "lists.h"

/* The length of every row, one byte or two for each. */
typedef struct {
    const uint8_t *bytes;
    unsigned width;
} Lengths;

/* What a query asks of a segment: its terms' lists in the query's order, and what each weighs. */
typedef struct {
    List *lists;
    const double *weights;
    size_t terms, rows;
    Lengths lengths;
    double average_length;
} Question;

typedef struct {
    double score;
    int64_t row;
} Hit;

/* Hits as they were found; `threshold` is the score of the last of the best `limit`, 0 until there are as many. */
typedef struct {
    Hit *hits;
    double *best; /* a heap of the `limit` best scores, the least first */
    size_t count, room, limit, held;
    double threshold;
} Collector;

typedef enum { FINE, DAMAGED, NO_MEMORY } Outcome;

/* Find the `limit` best rows that `mask` (a byte per row, or NULL) allows, and all that tie with the last; the best
   first, equal scores by row. The caller frees `found->hits` and `found->best` in any case. */
Outcome search_rows(const Question *question, const uint8_t *mask, size_t limit, Collector *found);

/* Write the score of each of some ascending rows. */
Outcome score_rows(const Question *question, const int64_t *rows, size_t count, double *scores);

#endif
