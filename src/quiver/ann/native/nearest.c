/* The nearest rows seen so far: a bounded heap, sorted in the end. */
#include <math.h>

#include "kernels.h"

static int is_after(float score, int64_t row, float other_score, int64_t other_row) {
    return score > other_score || (score == other_score && row > other_row);
}

/* Put an entry in at `place`, from where larger ones move up. */
static void sink(Nearest *nearest, size_t place, size_t count, float score, int64_t row) {
    int64_t *rows = nearest->rows;
    float *scores = nearest->scores;
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= count)
            break;
        if (child + 1 < count && is_after(scores[child + 1], rows[child + 1], scores[child], rows[child]))
            child++;
        if (!is_after(scores[child], rows[child], score, row))
            break;
        scores[place] = scores[child];
        rows[place] = rows[child];
        place = child;
    }
    scores[place] = score;
    rows[place] = row;
}

static void rise(Nearest *nearest, size_t place, float score, int64_t row) {
    while (place) {
        size_t parent = (place - 1) / 2;
        if (!is_after(score, row, nearest->scores[parent], nearest->rows[parent]))
            break;
        nearest->scores[place] = nearest->scores[parent];
        nearest->rows[place] = nearest->rows[parent];
        place = parent;
    }
    nearest->scores[place] = score;
    nearest->rows[place] = row;
}

void nearest_offer(Nearest *nearest, float score, int64_t row) {
    if (!(score == score))
        score = INFINITY; /* damaged numbers come last */
    if (nearest->count < nearest->limit)
        rise(nearest, nearest->count++, score, row);
    else if (nearest->limit && is_after(nearest->scores[0], nearest->rows[0], score, row))
        sink(nearest, 0, nearest->count, score, row);
}

void nearest_sort(Nearest *nearest) {
    for (size_t last = nearest->count; last-- > 1;) {
        float score = nearest->scores[last];
        int64_t row = nearest->rows[last];
        nearest->scores[last] = nearest->scores[0];
        nearest->rows[last] = nearest->rows[0];
        sink(nearest, 0, last, score, row);
    }
}
