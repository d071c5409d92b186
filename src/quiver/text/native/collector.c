/* The best hits so far, and all that tie with the last of them. */
#include "collector.h"

#include <stdlib.h>

#define FIRST_ROOM 256

int collector_begin(Collector *collector, size_t limit) {
    *collector = (Collector){.limit = limit, .room = FIRST_ROOM};
    collector->hits = malloc(collector->room * sizeof *collector->hits);
    collector->best = malloc((limit + 1) * sizeof *collector->best);
    return collector->hits && collector->best;
}

static void drop_beaten(Collector *collector) {
    size_t kept = 0;
    for (size_t i = 0; i < collector->count; i++)
        if (collector->hits[i].score >= collector->threshold)
            collector->hits[kept++] = collector->hits[i];
    collector->count = kept;
}

static int make_room(Collector *collector) {
    drop_beaten(collector);
    if (collector->count <= collector->room / 2)
        return 1;
    Hit *larger = realloc(collector->hits, 2 * collector->room * sizeof *larger);
    if (!larger)
        return 0;
    collector->hits = larger;
    collector->room *= 2;
    return 1;
}

static void sift_up(double *heap, size_t place, double score) {
    for (; place && heap[(place - 1) / 2] > score; place = (place - 1) / 2)
        heap[place] = heap[(place - 1) / 2];
    heap[place] = score;
}

static void sift_down(double *heap, size_t count, double score) {
    size_t place = 0;
    for (size_t child; (child = 2 * place + 1) < count; place = child) {
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= score)
            break;
        heap[place] = heap[child];
    }
    heap[place] = score;
}

int collector_offer(Collector *collector, double score, int64_t row) {
    if (score < collector->threshold)
        return 1;
    if (collector->count == collector->room && !make_room(collector))
        return 0;
    collector->hits[collector->count++] = (Hit){score, row};
    if (!collector_full(collector))
        sift_up(collector->best, collector->held++, score);
    else if (score > collector->best[0])
        sift_down(collector->best, collector->held, score);
    if (collector_full(collector))
        collector->threshold = collector->best[0];
    return 1;
}

static int compare(const void *left, const void *right) {
    const Hit *one = left, *other = right;
    if (one->score != other->score)
        return one->score > other->score ? -1 : 1;
    return one->row < other->row ? -1 : 1;
}

void collector_end(Collector *collector) {
    drop_beaten(collector);
    qsort(collector->hits, collector->count, sizeof *collector->hits, compare);
}
