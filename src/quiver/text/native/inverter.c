/* Takes the terms of rows, in ascending order of rows: a hash table of terms, and their postings as varints. */
#include "inverter.h"

#include "bytes.h"
#include "pool.h"

#define FIRST_SLOTS 1024

const uint8_t *inverter_text(const Inverter *inverter, const Term *term, size_t *size) {
    uint16_t stored;
    memcpy(&stored, inverter->texts.bytes + term->text, sizeof stored);
    *size = stored;
    return inverter->texts.bytes + term->text + sizeof stored;
}

static int rehash(Inverter *inverter, size_t slot_count) {
    uint32_t *slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return 0;
    for (size_t i = 0; i < inverter->term_count; i++) {
        size_t slot = inverter->terms[i].hash & (slot_count - 1);
        while (slots[slot])
            slot = (slot + 1) & (slot_count - 1);
        slots[slot] = (uint32_t)(i + 1);
    }
    free(inverter->slots);
    inverter->slots = slots;
    inverter->slot_count = slot_count;
    return 1;
}

static Term *add_term(Inverter *inverter, const char *text, size_t size, uint32_t hash) {
    uint16_t stored = (uint16_t)size;
    Term *terms = grown(inverter->terms, &inverter->term_room, inverter->term_count + 1, sizeof *terms);
    if (!terms)
        return NULL;
    inverter->terms = terms;
    Term *term = terms + inverter->term_count;
    *term = (Term){.text = (uint32_t)inverter->texts.count, .hash = hash};
    if (inverter->texts.count > UINT32_MAX - 2 * MOST_TERM || !bytes_add(&inverter->texts, &stored, sizeof stored) ||
        !bytes_add(&inverter->texts, text, size) || !pool_begin(inverter, term))
        return NULL;
    inverter->term_count++;
    return term;
}

static Term *find_term(Inverter *inverter, const char *text, size_t size, uint32_t hash) {
    if (2 * inverter->term_count >= inverter->slot_count &&
        !rehash(inverter, inverter->slot_count ? 2 * inverter->slot_count : FIRST_SLOTS))
        return NULL;
    size_t slot = hash & (inverter->slot_count - 1), stored;
    for (; inverter->slots[slot]; slot = (slot + 1) & (inverter->slot_count - 1)) {
        Term *term = inverter->terms + inverter->slots[slot] - 1;
        if (term->hash != hash)
            continue;
        const uint8_t *known = inverter_text(inverter, term, &stored);
        if (stored == size && !memcmp(known, text, size))
            return term;
    }
    Term *term = add_term(inverter, text, size, hash);
    if (term)
        inverter->slots[slot] = (uint32_t)inverter->term_count;
    return term;
}

int inverter_term(Inverter *inverter, const char *text, size_t size, uint32_t hash, uint32_t row) {
    Term *term = find_term(inverter, text, size, hash);
    if (!term)
        return 0;
    if (term->frequency && term->row == row) {
        term->times += term->times < MOST_FREQUENCY;
        return 1;
    }
    if (term->frequency && !pool_put(inverter, term))
        return 0;
    term->row = row;
    term->times = 1;
    term->frequency++;
    return 1;
}

int inverter_row(Inverter *inverter, size_t row, size_t length) {
    uint16_t *lengths = grown(inverter->lengths, &inverter->row_room, row + 1, sizeof *lengths);
    if (!lengths)
        return 0;
    inverter->lengths = lengths;
    memset(lengths + inverter->rows, 0, (row + 1 - inverter->rows) * sizeof *lengths);
    lengths[row] = (uint16_t)(length < UINT16_MAX ? length : UINT16_MAX);
    inverter->rows = row + 1;
    inverter->documents += length > 0;
    inverter->tokens += lengths[row];
    return 1;
}

void inverter_free(Inverter *inverter) {
    free(inverter->terms);
    free(inverter->slots);
    free(inverter->texts.bytes);
    free(inverter->lengths);
    pool_free(inverter);
    memset(inverter, 0, sizeof *inverter);
}
