/* From the inverter's terms and postings to the bytes that are stored. */
#include "bytes.h"
#include "pool.h"

/* A term in the order of its bytes; the first eight of them decide most comparisons. */
typedef struct {
    uint64_t prefix;
    uint32_t term;
} Sorted;

static int is_before(const Inverter *inverter, const Sorted *left, const Sorted *right) {
    size_t left_size, right_size;
    if (left->prefix != right->prefix)
        return left->prefix < right->prefix;
    const uint8_t *one = inverter_text(inverter, inverter->terms + left->term, &left_size);
    const uint8_t *other = inverter_text(inverter, inverter->terms + right->term, &right_size);
    int order = memcmp(one, other, left_size < right_size ? left_size : right_size);
    return order ? order < 0 : left_size < right_size;
}

static void merge_runs(const Inverter *inverter, const Sorted *from, Sorted *to, size_t low, size_t middle, size_t high) {
    size_t left = low, right = middle;
    for (size_t i = low; i < high; i++)
        if (left < middle && (right == high || !is_before(inverter, from + right, from + left)))
            to[i] = from[left++];
        else
            to[i] = from[right++];
}

/* Merge sort between two arrays; the one that has the result. */
static Sorted *sort_terms(const Inverter *inverter, Sorted *from, Sorted *to) {
    size_t count = inverter->term_count;
    for (size_t run = 1; run < count; run *= 2) {
        for (size_t low = 0; low < count; low += 2 * run) {
            size_t middle = low + run < count ? low + run : count, high = low + 2 * run < count ? low + 2 * run : count;
            merge_runs(inverter, from, to, low, middle, high);
        }
        Sorted *swapped = from;
        from = to;
        to = swapped;
    }
    return from;
}

static void fill_sorted(const Inverter *inverter, Sorted *sorted) {
    for (size_t i = 0; i < inverter->term_count; i++) {
        size_t size;
        const uint8_t *text = inverter_text(inverter, inverter->terms + i, &size);
        sorted[i] = (Sorted){0, (uint32_t)i};
        for (size_t byte = 0; byte < 8; byte++)
            sorted[i].prefix = sorted[i].prefix << 8 | (byte < size ? text[byte] : 0);
    }
}

static int put_varints(Bytes *lists, Stream *stream, size_t count) {
    uint8_t *place = bytes_room(lists, 2 * MOST_VARINT * count);
    if (!place)
        return 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t row, times, next = stream->next;
        stream_next(stream, &row, &times);
        place = put_varint(place, (uint64_t)(row - next) << 1 | (times > 1));
        if (times > 1)
            place = put_varint(place, times);
    }
    lists->count = (size_t)(place - lists->bytes);
    return 1;
}

static int put_packed(Bytes *lists, Stream *stream) {
    uint32_t gaps[BLOCK], more[BLOCK], any_gap = 0, any_more = 0;
    uint8_t *place = bytes_room(lists, 2 + 2 * packed_size(32));
    if (!place)
        return 0;
    for (size_t i = 0; i < BLOCK; i++) {
        uint32_t row, times, next = stream->next;
        stream_next(stream, &row, &times);
        any_gap |= gaps[i] = row - next;
        any_more |= more[i] = times - 1;
    }
    place[0] = (uint8_t)width_of(any_gap);
    place[1] = (uint8_t)width_of(any_more);
    pack_block(gaps, place[0], place + 2);
    pack_block(more, place[1], place + 2 + packed_size(place[0]));
    lists->count += 2 + packed_size(place[0]) + packed_size(place[1]);
    return 1;
}

/* What the directory says of the next postings; the stream is a copy, so that they are still to come. */
static Entry describe(const Inverter *inverter, Stream stream, size_t count) {
    Entry entry = {.least_length = UINT16_MAX, .least_of_more = UINT16_MAX};
    for (size_t i = 0; i < count; i++) {
        uint32_t times;
        stream_next(&stream, &entry.last, &times);
        uint16_t length = inverter->lengths[entry.last];
        entry.most_times = times > entry.most_times ? (uint16_t)times : entry.most_times;
        entry.least_length = length < entry.least_length ? length : entry.least_length;
        if (times > 1 && length < entry.least_of_more)
            entry.least_of_more = length;
    }
    return entry;
}

static void put_entry(uint8_t *place, Entry entry) {
    memcpy(place, &entry.last, 4);
    memcpy(place + 4, &entry.end, 4);
    memcpy(place + 8, &entry.most_times, 2);
    memcpy(place + 10, &entry.least_length, 2);
    memcpy(place + 12, &entry.least_of_more, 2);
}

static int put_list(const Inverter *inverter, const Term *term, Bytes *lists) {
    Stream stream = stream_open(inverter, term);
    if (term->frequency < BLOCK)
        return put_varints(lists, &stream, term->frequency);
    size_t blocks = (term->frequency + BLOCK - 1) / BLOCK, directory = lists->count;
    if (!bytes_room(lists, blocks * ENTRY_SIZE))
        return 0;
    size_t begin = lists->count += blocks * ENTRY_SIZE;
    for (size_t block = 0; block < blocks; block++) {
        size_t left = term->frequency - BLOCK * block, count = left < BLOCK ? left : BLOCK;
        Entry entry = describe(inverter, stream, count);
        if (!(count < BLOCK ? put_varints(lists, &stream, count) : put_packed(lists, &stream)))
            return 0;
        if (lists->count - begin > UINT32_MAX)
            return 0;
        entry.end = (uint32_t)(lists->count - begin);
        put_entry(lists->bytes + directory + ENTRY_SIZE * block, entry);
    }
    return 1;
}

typedef struct {
    const uint8_t *text;
    size_t size;
} Text;

static size_t shared_by(Text one, Text other) {
    size_t shared = 0;
    while (shared < one.size && shared < other.size && one.text[shared] == other.text[shared])
        shared++;
    return shared;
}

/* Begin a block of the dictionary with a term: the least bytes that tell it from the term before lead to it. */
static int begin_block(Inverted *out, Text text, size_t shared, uint64_t list) {
    size_t separator = out->separator_ends.count ? shared + 1 : 0;
    if (!bytes_add(&out->separators, text.text, separator) || !bytes_add(&out->dictionary, &list, sizeof list))
        return 0;
    uint32_t end = (uint32_t)out->separators.count;
    return bytes_add(&out->separator_ends, &end, sizeof end);
}

static int end_block(Inverted *out) {
    uint64_t end = out->dictionary.count;
    return bytes_add(&out->block_ends, &end, sizeof end);
}

static uint64_t block_begin(const Inverted *out) {
    uint64_t begin = 0;
    if (out->block_ends.count)
        memcpy(&begin, out->block_ends.bytes + out->block_ends.count - sizeof begin, sizeof begin);
    return begin;
}

static int put_term(Inverted *out, const Term *term, Text text, Text before, uint64_t list) {
    size_t shared = shared_by(text, before);
    if (out->dictionary.count - block_begin(out) >= DICTIONARY_BLOCK && !end_block(out))
        return 0;
    if (out->dictionary.count == block_begin(out)) {
        if (!begin_block(out, text, shared, list))
            return 0;
        shared = 0;
    }
    uint8_t *place = bytes_room(&out->dictionary, 4 * MOST_VARINT + MOST_TERM);
    if (!place)
        return 0;
    place = put_varint(place, shared);
    place = put_varint(place, text.size - shared);
    memcpy(place, text.text + shared, text.size - shared);
    place = put_varint(place + text.size - shared, term->frequency);
    place = put_varint(place, out->lists.count - list);
    out->dictionary.count = (size_t)(place - out->dictionary.bytes);
    return 1;
}

static int put_terms(const Inverter *inverter, const Sorted *sorted, Inverted *out) {
    Text before = {NULL, 0};
    for (size_t i = 0; i < inverter->term_count; i++) {
        const Term *term = inverter->terms + sorted[i].term;
        uint64_t list = out->lists.count;
        Text text;
        text.text = inverter_text(inverter, term, &text.size);
        if (!put_list(inverter, term, &out->lists) || !put_term(out, term, text, before, list))
            return 0;
        before = text;
    }
    return !inverter->term_count || end_block(out);
}

static int put_lengths(const Inverter *inverter, Inverted *out) {
    uint16_t most = 0;
    for (size_t row = 0; row < inverter->rows; row++)
        most = inverter->lengths[row] > most ? inverter->lengths[row] : most;
    out->width = most > UINT8_MAX ? 2 : 1;
    uint8_t *place = bytes_room(&out->lengths, inverter->rows * out->width);
    if (!place)
        return 0;
    if (out->width == 2 && inverter->rows)
        memcpy(place, inverter->lengths, 2 * inverter->rows);
    for (size_t row = 0; out->width == 1 && row < inverter->rows; row++)
        place[row] = (uint8_t)inverter->lengths[row];
    out->lengths.count = inverter->rows * out->width;
    return 1;
}

static int flush_pending(Inverter *inverter) {
    for (size_t i = 0; i < inverter->term_count; i++)
        if (!pool_put(inverter, inverter->terms + i))
            return 0;
    return 1;
}

int inverter_finish(Inverter *inverter, size_t rows, Inverted *inverted) {
    Sorted *sorted = malloc((inverter->term_count + 1) * sizeof *sorted);
    Sorted *other = malloc((inverter->term_count + 1) * sizeof *other);
    int fine = sorted && other && flush_pending(inverter) &&
               (!inverter->documents || inverter->rows == rows || inverter_row(inverter, rows - 1, 0));
    if (fine && inverter->documents) {
        fill_sorted(inverter, sorted);
        fine = put_terms(inverter, sort_terms(inverter, sorted, other), inverted) && put_lengths(inverter, inverted);
    }
    free(sorted);
    free(other);
    return fine;
}

void inverted_free(Inverted *inverted) {
    free(inverted->lists.bytes);
    free(inverted->lengths.bytes);
    free(inverted->dictionary.bytes);
    free(inverted->block_ends.bytes);
    free(inverted->separators.bytes);
    free(inverted->separator_ends.bytes);
}
