/* The arithmetic of BM25, the same as that of bm25.py in every bit. */
#ifndef QUIVER_TEXT_SCORING_H
#define QUIVER_TEXT_SCORING_H

#include "search.h"

#define K1 1.2
#define B 0.75
#define TABULATED 256

/* What a row's length does to its scores; tabulated for short rows. */
typedef struct {
    double of_short[TABULATED], average;
} Norms;

static inline double compute_norm(unsigned length, double average) {
    return K1 * (1 - B + B * (length / average));
}

static inline void norms_fill(Norms *norms, double average) {
    norms->average = average;
    for (unsigned length = 0; length < TABULATED; length++)
        norms->of_short[length] = compute_norm(length, average);
}

static inline double norm_of(const Norms *norms, unsigned length) {
    return length < TABULATED ? norms->of_short[length] : compute_norm(length, norms->average);
}

static inline unsigned length_of(Lengths lengths, size_t row) {
    uint16_t length;
    if (lengths.width == 1)
        return lengths.bytes[row];
    memcpy(&length, lengths.bytes + 2 * row, 2);
    return length;
}

/* A term's part of the score of a row that holds it `times` times. */
static inline double part_of(double weight, double times, double norm) {
    return weight * (times / (times + norm));
}

static inline double part_at(const Question *question, const Norms *norms, size_t term, size_t row, uint32_t times) {
    return part_of(question->weights[term], times, norm_of(norms, length_of(question->lengths, row)));
}

#endif
