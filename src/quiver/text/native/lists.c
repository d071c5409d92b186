/* Posting lists: checking and decoding. */
#include "lists.h"

/* The postings of [in, end) as varints after the row before `row`; they have to fill the bytes exactly. */
static int decode_varints(List *list, const uint8_t *in, const uint8_t *end, size_t row, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t gap, times = 1;
        if (!(in = get_varint(in, end, &gap)) || (gap & 1 && !(in = get_varint(in, end, &times))))
            return 0;
        if (gap >> 1 >= list->rows - row || times < 1 || times > MOST_FREQUENCY)
            return 0;
        row += gap >> 1;
        list->row[i] = (uint32_t)row++;
        list->times[i] = (uint32_t)times;
    }
    list->count = count;
    return in == end;
}

static int directory_holds(const List *list) {
    Entry before = {0};
    for (size_t i = 0; i < list->blocks; i++) {
        Entry entry = entry_at(list, i);
        if (entry.last >= list->rows || (i && entry.last <= before.last) || entry.end < before.end ||
            entry.end > list->size)
            return 0;
        before = entry;
    }
    return before.end == list->size;
}

int list_open(List *list, const uint8_t *bytes, size_t size, size_t frequency, size_t rows) {
    *list = (List){.data = bytes, .size = size, .frequency = frequency, .rows = rows, .decoded = NO_BLOCK};
    if (!frequency)
        return !size;
    if (frequency > rows || rows > INT32_MAX)
        return 0;
    list->blocks = (frequency + BLOCK - 1) / BLOCK;
    if (frequency < BLOCK) {
        list->decoded = 0;
        return decode_varints(list, bytes, bytes + size, 0, frequency);
    }
    if (size / ENTRY_SIZE < list->blocks)
        return 0;
    list->directory = bytes;
    list->data = bytes + ENTRY_SIZE * list->blocks;
    list->size = size - ENTRY_SIZE * list->blocks;
    return directory_holds(list);
}

static int decode_packed(List *list, const uint8_t *in, size_t size, size_t row) {
    if (size < 2 || in[0] > 32 || in[1] > 16 || size != 2 + packed_size(in[0]) + packed_size(in[1]))
        return 0;
    unpack_block(in + 2, list->row, in[0]);
    unpack_block(in + 2 + packed_size(in[0]), list->times, in[1]);
    uint64_t next = row; /* does not overflow, and rows ascend, so that the last one vouches for all */
    for (size_t i = 0; i < BLOCK; i++) {
        next += list->row[i];
        list->row[i] = (uint32_t)next++;
    }
    uint32_t most = 0;
    for (size_t i = 0; i < BLOCK; i++) {
        list->times[i]++;
        most = list->times[i] > most ? list->times[i] : most;
    }
    list->count = BLOCK;
    return next <= list->rows && most <= MOST_FREQUENCY;
}

int list_decode(List *list, size_t block) {
    if (list->decoded == block)
        return 1;
    list->decoded = NO_BLOCK;
    size_t start = block ? entry_at(list, block - 1).end : 0, row = floor_of(list, block);
    size_t left = list->frequency - BLOCK * block;
    Entry entry = entry_at(list, block);
    const uint8_t *in = list->data + start, *end = list->data + entry.end;
    int fine = left < BLOCK ? decode_varints(list, in, end, row, left) : decode_packed(list, in, (size_t)(end - in), row);
    if (!fine || list->row[list->count - 1] != entry.last)
        return 0;
    list->decoded = block;
    return 1;
}

size_t list_block_of(const List *list, size_t block, size_t row) {
    if (!list->directory)
        return block < list->blocks && list->row[list->count - 1] >= row ? block : list->blocks;
    size_t step = 1, low = block; /* all before `low` end too early */
    while (low < list->blocks && last_of(list, low) < row) {
        block = low + 1;
        low += step;
        step *= 2;
    }
    size_t high = low < list->blocks ? low : list->blocks;
    while (block < high) {
        size_t middle = (block + high) / 2;
        if (last_of(list, middle) < row)
            block = middle + 1;
        else
            high = middle;
    }
    return block;
}

/* The first posting of the decoded block with this row or a later one; there is one. */
static size_t place_in(const List *list, size_t row) {
    size_t low = 0, high = list->count - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list->row[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t list_place_of(const List *list, size_t row) {
    return list->row[list->count - 1] < row ? list->count : place_in(list, row);
}

int64_t list_times(List *list, size_t *block, size_t row) {
    *block = list_block_of(list, *block, row);
    if (*block == list->blocks || row < floor_of(list, *block))
        return 0;
    if (!list_decode(list, *block))
        return -1;
    size_t place = place_in(list, row);
    return list->row[place] == row ? list->times[place] : 0;
}

int64_t list_overlap(List *list, const int64_t *rows, size_t count) {
    int64_t common = 0;
    size_t block = 0;
    for (size_t i = 0; i < count && block < list->blocks; i++) {
        int64_t times = list_times(list, &block, (size_t)rows[i]);
        if (times < 0)
            return -1;
        common += times > 0;
    }
    return common;
}
