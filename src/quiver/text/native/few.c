/* The search of short lists: row by row, without windows and bounds. */
#include "few.h"

#define MOST_POSTINGS 4096
#define MOST_TERMS 16

/* Where a list is read; `row` is past all rows at its end. */
typedef struct {
    size_t block, place, row;
} Cursor;

int are_few(const Question *question) {
    size_t postings = 0;
    for (size_t term = 0; term < question->terms; term++)
        postings += question->lists[term].frequency;
    return question->terms <= MOST_TERMS && postings <= MOST_POSTINGS;
}

/* Go to the next posting; false when the bytes are inconsistent. */
static int advance(Cursor *cursor, List *list) {
    if (++cursor->place == list->count) {
        cursor->place = 0;
        cursor->block++;
    }
    if (cursor->block < list->blocks && !list_decode(list, cursor->block))
        return 0;
    cursor->row = cursor->block < list->blocks ? list->row[cursor->place] : SIZE_MAX;
    return 1;
}

static int begin(Cursor *cursors, const Question *question) {
    for (size_t term = 0; term < question->terms; term++) {
        List *list = question->lists + term;
        if (list->blocks && !list_decode(list, 0))
            return 0;
        cursors[term] = (Cursor){0, 0, list->blocks ? list->row[0] : SIZE_MAX};
    }
    return 1;
}

static size_t least_row(const Cursor *cursors, size_t terms) {
    size_t least = SIZE_MAX;
    for (size_t term = 0; term < terms; term++)
        least = cursors[term].row < least ? cursors[term].row : least;
    return least;
}

Outcome search_few(const Question *question, const Norms *norms, const uint8_t *mask, Collector *collector) {
    Cursor cursors[MOST_TERMS];
    if (!begin(cursors, question))
        return DAMAGED;
    for (size_t row; (row = least_row(cursors, question->terms)) != SIZE_MAX;) {
        double sum = 0;
        for (size_t term = 0; term < question->terms; term++) {
            List *list = question->lists + term;
            if (cursors[term].row != row)
                continue;
            sum += part_at(question, norms, term, row, list->times[cursors[term].place]);
            if (!advance(cursors + term, list))
                return DAMAGED;
        }
        if ((!mask || mask[row]) && !collector_offer(collector, sum, (int64_t)row))
            return NO_MEMORY;
    }
    return FINE;
}
