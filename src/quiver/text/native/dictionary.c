/* Where a term's list is. */
#include "dictionary.h"

#include "inverter.h"

static int compare(const uint8_t *one, size_t one_size, const uint8_t *other, size_t other_size) {
    int order = memcmp(one, other, one_size < other_size ? one_size : other_size);
    return order ? order : (one_size > other_size) - (one_size < other_size);
}

/* Read the next term over the one before; NULL when the bytes are inconsistent. */
static const uint8_t *next_term(const uint8_t *in, const uint8_t *end, uint8_t *term, size_t *size) {
    uint64_t shared, added;
    if (!(in = get_varint(in, end, &shared)) || !(in = get_varint(in, end, &added)))
        return NULL;
    if (shared > *size || added > MOST_TERM - shared || added > (uint64_t)(end - in))
        return NULL;
    memcpy(term + shared, in, added);
    *size = shared + added;
    return in + added;
}

int dictionary_find(const uint8_t *block, size_t size, const uint8_t *wanted, size_t wanted_size, Found *found) {
    const uint8_t *in = block + 8, *end = block + size;
    uint8_t term[MOST_TERM];
    size_t term_size = 0;
    uint64_t frequency, length, list;
    *found = (Found){0};
    if (size < 8)
        return 0;
    memcpy(&list, block, 8);
    while (in < end) {
        if (!(in = next_term(in, end, term, &term_size)) || !(in = get_varint(in, end, &frequency)) ||
            !(in = get_varint(in, end, &length)) || length > INT64_MAX || list > INT64_MAX)
            return 0;
        int order = compare(term, term_size, wanted, wanted_size);
        if (order >= 0) {
            if (!order)
                *found = (Found){frequency, list, list + length};
            return 1;
        }
        list += length;
    }
    return 1;
}

int64_t dictionary_block(const uint8_t *separators, size_t size, const uint8_t *ends, size_t count,
                         const uint8_t *term, size_t term_size) {
    size_t low = 0, high = count; /* all before `low` are not after the term, all from `high` on are */
    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t start = 0, end;
        if (middle)
            memcpy(&start, ends + 4 * (middle - 1), 4);
        memcpy(&end, ends + 4 * middle, 4);
        if (start > end || end > size)
            return -1;
        if (compare(separators + start, end - start, term, term_size) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (int64_t)low - 1;
}
