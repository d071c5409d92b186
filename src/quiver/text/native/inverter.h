/* Makes posting lists and their dictionary from rows, free of Python. */
#ifndef QUIVER_TEXT_INVERTER_H
#define QUIVER_TEXT_INVERTER_H

#include "lists.h"

#define MOST_TERM 256        /* bytes of a term */
#define DICTIONARY_BLOCK 4096 /* bytes at which a block of the dictionary is closed */

/* Bytes that grow. */
typedef struct {
    uint8_t *bytes;
    size_t count, room;
} Bytes;

/* A term, and the postings that it has so far, as varints in slices of the pool that point to one another. */
typedef struct {
    uint32_t text, hash; /* where in `texts` its length (u16) and its bytes begin */
    uint32_t row, next;      /* the last row that has it, not yet among the postings; one past the last among them */
    uint32_t frequency;      /* how many rows have it */
    uint32_t slice;          /* its first slice, in units of the smallest */
    uint16_t times, left;    /* in the last row; bytes left in the last slice */
    uint8_t level;           /* of the last slice */
    uint64_t at;             /* where the next byte goes */
} Term;

typedef struct {
    Term *terms;
    uint32_t *slots; /* a hash table of term numbers, from 1; 0 is empty */
    size_t term_count, term_room, slot_count;
    Bytes texts;
    uint8_t **chunks; /* the pool of slices */
    size_t chunk_count, chunk_room;
    uint64_t pool_end;
    uint16_t *lengths;
    size_t rows, row_room; /* the last row that was added, plus one */
    uint64_t documents, tokens;
} Inverter;

/* What is stored. `lists` goes before `lengths`, these before `dictionary`. */
typedef struct {
    Bytes lists, lengths, dictionary, block_ends, separators, separator_ends;
    unsigned width;
} Inverted;

/* The bytes of a term, and how many they are. */
const uint8_t *inverter_text(const Inverter *inverter, const Term *term, size_t *size);

/* False when there is no memory, in all of these. */
int inverter_term(Inverter *inverter, const char *text, size_t size, uint32_t hash, uint32_t row);
int inverter_row(Inverter *inverter, size_t row, size_t length);
int inverter_finish(Inverter *inverter, size_t rows, Inverted *inverted);

void inverter_free(Inverter *inverter);
void inverted_free(Inverted *inverted);

#endif
