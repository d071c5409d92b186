/* The nearest rows seen so far: entries gathered until there is no room, of which the nearest are then kept. */
#include <string.h>

#include "nearest.h"

#define FEW 12 /* entries that are sorted one by one */

static uint64_t middle_of(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Move the entries up to `pivot` to the front, without a branch on any; how many they are. */
static size_t divide(uint64_t *entries, size_t count, uint64_t pivot) {
    size_t front = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t entry = entries[i];
        entries[i] = entries[front];
        entries[front] = entry;
        front += entry <= pivot;
    }
    return front;
}

/* Move the `limit` least entries to the front, in any order: what the middle one of three divides is divided again,
on the side where the last of them is (Hoare's selection). */
static void select_least(uint64_t *entries, size_t count, size_t limit) {
    while (limit && limit < count) {
        uint64_t pivot = middle_of(entries[count / 4], entries[count / 2], entries[count - 1 - count / 4]);
        size_t front = divide(entries, count, pivot);
        if (front == count) { /* the pivot is the greatest: it goes to the end, with those like it */
            front = pivot ? divide(entries, count, pivot - 1) : 0;
            if (front <= limit)
                return;
        }
        if (front > limit)
            count = front;
        else {
            entries += front;
            count -= front;
            limit -= front;
        }
    }
}

void nearest_shrink(Nearest *nearest) {
    uint64_t greatest = 0;
    if (nearest->count <= nearest->limit)
        return;
    select_least(nearest->entries, nearest->count, nearest->limit);
    nearest->count = nearest->limit;
    for (size_t i = 0; i < nearest->count; i++)
        greatest = nearest->entries[i] > greatest ? nearest->entries[i] : greatest;
    nearest->worst = nearest->limit ? entry_score(greatest) : -INFINITY;
}

static void insert_each(uint64_t *entries, size_t count) {
    for (size_t i = 1; i < count; i++) {
        uint64_t entry = entries[i];
        size_t place = i;
        for (; place && entries[place - 1] > entry; place--)
            entries[place] = entries[place - 1];
        entries[place] = entry;
    }
}

/* Merge two sorted runs, without a branch on which entry is less. */
static void merge(const uint64_t *one, size_t ones, const uint64_t *other, size_t others, uint64_t *out) {
    const uint64_t *one_end = one + ones, *other_end = other + others;
    while (one < one_end && other < other_end) {
        uint64_t a = *one, b = *other;
        int second = b < a;
        *out++ = second ? b : a;
        one += !second;
        other += second;
    }
    memcpy(out, one, (size_t)(one_end - one) * sizeof *out);
    memcpy(out + (one_end - one), other, (size_t)(other_end - other) * sizeof *out);
}

/* Sort entries; where they are afterwards, here or in `spare`, which has as much room. */
static uint64_t *sort(uint64_t *entries, size_t count, uint64_t *spare) {
    for (size_t at = 0; at < count; at += FEW)
        insert_each(entries + at, count - at < FEW ? count - at : FEW);
    for (size_t run = FEW; run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run) {
            size_t left = count - at, ones = left < run ? left : run, others = left - ones < run ? left - ones : run;
            merge(entries + at, ones, entries + at + ones, others, spare + at);
        }
        uint64_t *sorted = spare;
        spare = entries;
        entries = sorted;
    }
    return entries;
}

size_t nearest_take(Nearest *nearest, int64_t *rows, float *scores) {
    nearest_shrink(nearest);
    const uint64_t *sorted = sort(nearest->entries, nearest->count, nearest->entries + nearest->room);
    for (size_t i = 0; i < nearest->count; i++) {
        rows[i] = (int64_t)(uint32_t)sorted[i];
        if (scores)
            scores[i] = entry_score(sorted[i]);
    }
    return nearest->count;
}

float nearest_last(const float *values, size_t count, size_t number, void *memory) {
    Nearest kept = nearest_in(memory, number);
    for (size_t i = 0; i < count; i++) {
        nearest_ready(&kept);
        kept.entries[kept.count++] = entry_of(values[i], (uint32_t)i);
    }
    nearest_shrink(&kept);
    uint64_t last = 0;
    for (size_t i = 0; i < kept.count; i++)
        last = kept.entries[i] > last ? kept.entries[i] : last;
    return entry_score(last);
}
