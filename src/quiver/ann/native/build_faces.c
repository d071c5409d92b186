/* means and rabitq_lay_out as Python calls them, for building: every size and place is checked before. */
#include <string.h>

#include "faces.h"

/* The mean of rows, summed in float64 in the order in which they are named. */
static void mean_of(const float *rows, const int64_t *numbers, size_t count, size_t dimension, double *sums,
                    float *out) {
    memset(sums, 0, dimension * sizeof *sums);
    for (size_t i = 0; i < count; i++) {
        const float *row = rows + (size_t)numbers[i] * dimension;
        for (size_t k = 0; k < dimension; k++)
            sums[k] += row[k];
    }
    for (size_t k = 0; k < dimension; k++)
        out[k] = (float)(sums[k] / (double)count);
}

/* Whether the groups lie within `order`, one behind the other, and everything there is the number of a row. */
static int are_groups(const Py_buffer *starts, const Py_buffer *order, const Py_buffer *rows) {
    const int64_t *place = starts->buf, *number = order->buf;
    for (Py_ssize_t i = 1; i < starts->shape[0]; i++)
        if (place[i - 1] < 0 || place[i] < place[i - 1] || place[i] > order->shape[0])
            return 0;
    for (int64_t i = place[0]; i < place[starts->shape[0] - 1]; i++)
        if (number[i] < 0 || number[i] >= rows->shape[0])
            return 0;
    return 1;
}

static PyObject *run_means(const Py_buffer *rows, const Py_buffer *order, const Py_buffer *starts,
                           const Py_buffer *out) {
    Py_ssize_t count = out->shape[0], dimension = rows->shape[1];
    if (starts->shape[0] != count + 1 || out->shape[1] != dimension || !are_groups(starts, order, rows))
        return refuse("means: the arrays do not fit each other");
    double *sums = PyMem_RawMalloc(((size_t)dimension + 1) * sizeof *sums);
    if (!sums)
        return PyErr_NoMemory();
    const int64_t *place = starts->buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++)
        if (place[i] < place[i + 1])
            mean_of(rows->buf, (const int64_t *)order->buf + place[i], (size_t)(place[i + 1] - place[i]),
                    (size_t)dimension, sums, (float *)out->buf + i * dimension);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(sums);
    Py_RETURN_NONE;
}

PyObject *means(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *order, *starts, *out;
    PyObject *done = NULL;
    if (counted("means", given, 4) && (rows = hold(&held, args[0], (Wanted){"rows", 'f', 2, ALIGNED})) &&
        (order = hold(&held, args[1], (Wanted){"order", 'q', 1, ALIGNED})) &&
        (starts = hold(&held, args[2], (Wanted){"starts", 'q', 1, ALIGNED})) &&
        (out = hold(&held, args[3], (Wanted){"out", 'f', 2, WRITABLE})))
        done = run_means(rows, order, starts, out);
    let_go(&held);
    return done;
}

/* `count` codes as a block of scan.h, the rest of which is zeros. */
static void lay_out_block(const uint8_t *codes, size_t count, size_t steps, uint8_t *block) {
    const size_t half = BLOCK_CODES / 2, size = steps + FACTORS_SIZE, factor = FACTORS_SIZE / 2;
    memset(block, 0, BLOCK_CODES * size);
    for (size_t number = 0; number < count; number++, codes += size) {
        uint8_t *place = block + number % half;
        unsigned shift = number < half ? 0 : 4;
        for (size_t step = 0; step < steps; step++, place += BLOCK_CODES) {
            place[0] |= (uint8_t)((codes[step] & 15) << shift);
            place[half] |= (uint8_t)(codes[step] >> 4 << shift);
        }
        uint8_t *factors = block + BLOCK_CODES * steps + factor * number;
        memcpy(factors, codes + steps, factor);
        memcpy(factors + factor * BLOCK_CODES, codes + steps + factor, factor);
    }
}

static PyObject *run_lay_out(const Py_buffer *codes, const Py_buffer *out) {
    size_t count = (size_t)codes->shape[0], size = (size_t)codes->shape[1];
    size_t blocks = (count + BLOCK_CODES - 1) / BLOCK_CODES;
    if (size <= FACTORS_SIZE || (size_t)out->shape[0] != blocks || (size_t)out->shape[1] != BLOCK_CODES * size)
        return refuse("rabitq_lay_out: the arrays do not fit each other");
    const uint8_t *from = codes->buf;
    uint8_t *to = out->buf;
    for (size_t start = 0; start < count; start += BLOCK_CODES)
        lay_out_block(from + start * size, count - start < BLOCK_CODES ? count - start : BLOCK_CODES,
                      size - FACTORS_SIZE, to + start * size);
    Py_RETURN_NONE;
}

PyObject *rabitq_lay_out(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *codes, *out;
    PyObject *done = NULL;
    if (counted("rabitq_lay_out", given, 2) && (codes = hold(&held, args[0], (Wanted){"codes", 'B', 2, LOOSE})) &&
        (out = hold(&held, args[1], (Wanted){"out", 'B', 2, WRITABLE})))
        done = run_lay_out(codes, out);
    let_go(&held);
    return done;
}
