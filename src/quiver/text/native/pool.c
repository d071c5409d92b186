/* Many byte streams that grow side by side in one pool. */
#include "pool.h"

#include "bytes.h"

#define CHUNK ((uint64_t)1 << 20)
#define UNIT 8 /* bytes of the smallest slice; slices are named by the unit that they begin at */
#define LAST_LEVEL 9
#define LINK 4 /* bytes at the end of a slice, for the name of the next */

static uint8_t *pool_at(const Inverter *inverter, uint64_t place) {
    return inverter->chunks[place / CHUNK] + place % CHUNK;
}

static uint32_t room_of(unsigned level) {
    return (UNIT << level) - LINK;
}

/* Where a new slice begins; UINT64_MAX when there is no memory. */
static uint64_t new_slice(Inverter *inverter, unsigned level) {
    uint64_t size = UNIT << level, place = inverter->pool_end;
    if (place / CHUNK != (place + size - 1) / CHUNK)
        place = (place / CHUNK + 1) * CHUNK;
    if (place / UNIT > UINT32_MAX)
        return UINT64_MAX;
    if (place / CHUNK == inverter->chunk_count) {
        uint8_t **chunks = grown(inverter->chunks, &inverter->chunk_room, inverter->chunk_count + 1, sizeof *chunks);
        if (!chunks)
            return UINT64_MAX;
        inverter->chunks = chunks;
        if (!(chunks[inverter->chunk_count] = malloc(CHUNK)))
            return UINT64_MAX;
        inverter->chunk_count++;
    }
    inverter->pool_end = place + size;
    return place;
}

int pool_begin(Inverter *inverter, Term *term) {
    uint64_t place = new_slice(inverter, 0);
    if (place == UINT64_MAX)
        return 0;
    term->slice = (uint32_t)(place / UNIT);
    term->at = place;
    term->left = (uint16_t)room_of(0);
    return 1;
}

static int extend(Inverter *inverter, Term *term) {
    unsigned level = term->level < LAST_LEVEL ? term->level + 1u : LAST_LEVEL;
    uint64_t place = new_slice(inverter, level);
    uint32_t name = (uint32_t)(place / UNIT);
    if (place == UINT64_MAX)
        return 0;
    memcpy(pool_at(inverter, term->at), &name, LINK);
    term->at = place;
    term->level = (uint8_t)level;
    term->left = (uint16_t)room_of(level);
    return 1;
}

int pool_put(Inverter *inverter, Term *term) {
    uint8_t bytes[2 * MOST_VARINT], *end;
    end = put_varint(bytes, (uint64_t)(term->row - term->next) << 1 | (term->times > 1));
    if (term->times > 1)
        end = put_varint(end, term->times);
    for (const uint8_t *byte = bytes; byte < end; byte++) {
        if (!term->left && !extend(inverter, term))
            return 0;
        *pool_at(inverter, term->at++) = *byte;
        term->left--;
    }
    term->next = term->row + 1;
    return 1;
}

void pool_free(Inverter *inverter) {
    for (size_t i = 0; i < inverter->chunk_count; i++)
        free(inverter->chunks[i]);
    free(inverter->chunks);
}

Stream stream_open(const Inverter *inverter, const Term *term) {
    return (Stream){.inverter = inverter, .at = (uint64_t)term->slice * UNIT, .left = room_of(0)};
}

static uint64_t stream_varint(Stream *stream) {
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (!stream->left) {
            uint32_t name;
            memcpy(&name, pool_at(stream->inverter, stream->at), LINK);
            stream->at = (uint64_t)name * UNIT;
            stream->level = stream->level < LAST_LEVEL ? stream->level + 1 : LAST_LEVEL;
            stream->left = room_of(stream->level);
        }
        uint8_t byte = *pool_at(stream->inverter, stream->at++);
        stream->left--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
}

void stream_next(Stream *stream, uint32_t *row, uint32_t *times) {
    uint64_t gap = stream_varint(stream);
    *times = gap & 1 ? (uint32_t)stream_varint(stream) : 1;
    *row = stream->next + (uint32_t)(gap >> 1);
    stream->next = *row + 1;
}
