/* covered, all_marked, run_places, pick_parts, touch and texts_at as Python calls them: where bytes are, whether they
 * are here and were verified, and bytes that are and were. */
#include <stdint.h>
#include <string.h>

#include "faces.h"

#define LENGTH_SIZE 4 /* bytes of the length before a text */

typedef struct {
    const uint8_t *bytes;
    uint64_t count, block;
} Marks;

/* The block size, into `marks`; false with an error set. */
static int read_block(Marks *marks, const Py_buffer *view, PyObject *size) {
    long long block = PyLong_AsLongLong(size);
    if (block == -1 && PyErr_Occurred())
        return 0;
    if (block < 1) {
        refuse("marks: a block has no size");
        return 0;
    }
    *marks = (Marks){view->buf, (uint64_t)view->len, (uint64_t)block};
    return 1;
}

/* Whether all blocks with bytes of [start, start + length) are marked; the length is at least one. */
static int is_marked(const Marks *marks, uint64_t start, uint64_t length) {
    uint64_t last = (start + (length - 1)) / marks->block;
    if (last >= marks->count)
        return 0;
    for (uint64_t block = start / marks->block; block <= last; block++)
        if (!marks->bytes[block])
            return 0;
    return 1;
}

static uint64_t offset_at(const Py_buffer *offsets, Py_ssize_t number) {
    uint64_t offset;
    memcpy(&offset, (const char *)offsets->buf + 8 * number, sizeof offset);
    return offset;
}

PyObject *covered(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *view, *offsets;
    Marks marks;
    int good = 0;
    if (counted("covered", given, 4) && (view = hold(&held, args[0], (Wanted){"marks", 'B', 1, LOOSE})) &&
        read_block(&marks, view, args[1]) && (offsets = hold(&held, args[2], (Wanted){"offsets", 'q', 1, LOOSE}))) {
        long long width = PyLong_AsLongLong(args[3]);
        good = width > 0;
        for (Py_ssize_t i = 0; good && i < offsets->shape[0]; i++) {
            uint64_t offset = offset_at(offsets, i);
            good = offset <= INT64_MAX && is_marked(&marks, offset, (uint64_t)width);
        }
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(good);
}

PyObject *all_marked(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *marks, *sizes, *numbers;
    int64_t total = 0;
    if (counted("all_marked", given, 3) && (marks = hold(&held, args[0], (Wanted){"marks", '?', 1, LOOSE})) &&
        (sizes = hold(&held, args[1], (Wanted){"sizes", 'q', 1, ALIGNED})) &&
        (numbers = hold(&held, args[2], (Wanted){"numbers", 'q', 1, LOOSE}))) {
        if (sizes->shape[0] != marks->len)
            refuse("marks: the arrays do not fit each other");
        for (Py_ssize_t i = 0; total >= 0 && !PyErr_Occurred() && i < numbers->shape[0]; i++) {
            uint64_t number = offset_at(numbers, i);
            if (number >= (uint64_t)marks->len)
                refuse("marks: a number past the last");
            else
                total = ((const uint8_t *)marks->buf)[number] ? total + ((const int64_t *)sizes->buf)[number] : -1;
        }
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(total);
}

/* The partition that holds a row: the first that ends behind it. At most `count`. */
static size_t holder_of(const int64_t *ends, size_t count, int64_t row) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ends[middle] > row)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

PyObject *run_places(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *ends, *shifts, *out;
    if (counted("run_places", given, 5) && (rows = hold(&held, args[0], (Wanted){"rows", 'q', 1, ALIGNED})) &&
        (ends = hold(&held, args[1], (Wanted){"ends", 'q', 1, ALIGNED})) &&
        (shifts = hold(&held, args[2], (Wanted){"shifts", 'q', 1, ALIGNED})) &&
        (out = hold(&held, args[4], (Wanted){"out", 'q', 1, WRITABLE}))) {
        uint64_t width = PyLong_AsUnsignedLongLong(args[3]);
        size_t count = (size_t)ends->shape[0];
        if (!PyErr_Occurred() && (shifts->shape[0] != ends->shape[0] || out->shape[0] != rows->shape[0] || !count))
            refuse("runs: the arrays do not fit each other");
        for (Py_ssize_t i = 0; !PyErr_Occurred() && i < rows->shape[0]; i++) {
            int64_t row = ((const int64_t *)rows->buf)[i];
            size_t run = holder_of(ends->buf, count, row);
            if (row < 0 || run == count)
                refuse("runs: a row past the last");
            else /* sums of what is unsigned are defined, whatever is in the arrays */
                ((uint64_t *)out->buf)[i] = (uint64_t)row * width + ((const uint64_t *)shifts->buf)[run];
        }
    }
    let_go(&held);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Where rows lie: in partitions, each of which holds a part of every row of it, and before that `before` bytes a
row of other parts. */
typedef struct {
    const Py_buffer *data, *places, *ends, *marks;
    uint64_t before, width;
} Parts;

/* The part of a row; NULL when it is out of bounds or its partition is not marked. */
static const char *part_of(const Parts *parts, int64_t row) {
    const int64_t *ends = parts->ends->buf, *places = parts->places->buf;
    size_t partition = holder_of(ends, (size_t)parts->ends->shape[0], row);
    if (row < 0 || partition == (size_t)parts->ends->shape[0] || !((const uint8_t *)parts->marks->buf)[partition])
        return NULL;
    int64_t first = partition ? ends[partition - 1] : 0, place = places[partition];
    uint64_t size = (uint64_t)(ends[partition] - first), length = (uint64_t)parts->data->len;
    if (row < first || place < 0 || (uint64_t)place > length ||
        size > (length - (uint64_t)place) / (parts->before + parts->width))
        return NULL;
    return (const char *)parts->data->buf + place + size * parts->before + (uint64_t)(row - first) * parts->width;
}

static PyObject *run_pick(const Parts *parts, const Py_buffer *rows, const Py_buffer *out) {
    if (parts->places->shape[0] < parts->ends->shape[0] || parts->marks->shape[0] != parts->ends->shape[0] ||
        out->shape[1] != rows->shape[0] || !parts->width || parts->before > INT32_MAX)
        return refuse("parts: the arrays do not fit each other");
    for (Py_ssize_t i = 0; i < rows->shape[0]; i++) {
        const char *part = part_of(parts, ((const int64_t *)rows->buf)[i]);
        if (!part)
            Py_RETURN_FALSE;
        for (Py_ssize_t number = 0; number < out->shape[0]; number++)
            memcpy((uint64_t *)out->buf + number * rows->shape[0] + i, part + 8 * number, 8);
    }
    Py_RETURN_TRUE;
}

PyObject *pick_parts(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *rows, *out;
    Parts parts = {0};
    PyObject *done = NULL;
    if (counted("pick_parts", given, 7) && (parts.data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (parts.places = hold(&held, args[1], (Wanted){"places", 'q', 1, ALIGNED})) &&
        (parts.ends = hold(&held, args[2], (Wanted){"ends", 'q', 1, ALIGNED})) &&
        (parts.marks = hold(&held, args[3], (Wanted){"marks", '?', 1, LOOSE})) &&
        (rows = hold(&held, args[5], (Wanted){"rows", 'q', 1, ALIGNED})) &&
        (out = hold(&held, args[6], (Wanted){"out", 'Q', 2, WRITABLE}))) {
        long long before = PyLong_AsLongLong(args[4]);
        if (before < 0 && !PyErr_Occurred())
            refuse("parts: a negative size");
        else if (!PyErr_Occurred()) {
            parts.before = (uint64_t)before;
            parts.width = 8 * (uint64_t)out->shape[0];
            done = run_pick(&parts, rows, out);
        }
    }
    let_go(&held);
    return done;
}

typedef struct {
    const uint8_t *here;
    uint8_t *hot, *seen;
    int64_t *used;
    int64_t count, block, epoch, horizon;
} Blocks;

/* Note that a range is used; whether its blocks are all here. Empty ranges are. */
static int touch_range(const Blocks blocks, int64_t start, int64_t end) {
    if (start >= end)
        return 1;
    if (start < 0 || end > blocks.count * blocks.block)
        return 0;
    int here = 1;
    int64_t first = start / blocks.block, last = (end - 1) / blocks.block;
    for (int64_t block = first; block <= last; block++) {
        blocks.hot[block] |= blocks.used[block] < blocks.horizon;
        blocks.used[block] = blocks.epoch;
        blocks.seen[block] = 1;
        here &= blocks.here[block];
    }
    return here;
}

/* The arrays and numbers of `touch`, but for the ranges, into `blocks`; false with an error set. */
static int read_blocks(Blocks *blocks, Held *held, PyObject *const *args) {
    const Py_buffer *here, *used, *hot, *seen;
    if (!(here = hold(held, args[0], (Wanted){"here", '?', 1, LOOSE})) ||
        !(used = hold(held, args[1], (Wanted){"used", 'q', 1, WRITABLE})) ||
        !(hot = hold(held, args[2], (Wanted){"hot", '?', 1, WRITABLE})) ||
        !(seen = hold(held, args[3], (Wanted){"seen", '?', 1, WRITABLE})))
        return 0;
    *blocks = (Blocks){here->buf, hot->buf, seen->buf, used->buf, here->len, PyLong_AsLongLong(args[4]),
                       PyLong_AsLongLong(args[5]), PyLong_AsLongLong(args[6])};
    if (PyErr_Occurred())
        return 0;
    if (blocks->block < 1 || used->shape[0] != here->len || hot->len != here->len || seen->len != here->len)
        refuse("touch: arrays of one length, and blocks of some size, are due");
    return !PyErr_Occurred();
}

PyObject *touch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *starts, *ends;
    Blocks blocks;
    int here = 1;
    if (counted("touch", given, 9) && read_blocks(&blocks, &held, args) &&
        (starts = hold(&held, args[7], (Wanted){"starts", 'q', 1, ALIGNED})) &&
        (ends = hold(&held, args[8], (Wanted){"ends", 'q', 1, ALIGNED}))) {
        if (starts->shape[0] != ends->shape[0])
            refuse("touch: as many ends as starts are due");
        else
            for (Py_ssize_t i = 0; i < starts->shape[0]; i++)
                here &= touch_range(blocks, ((const int64_t *)starts->buf)[i], ((const int64_t *)ends->buf)[i]);
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(here);
}

/* The text at an offset; NULL when it is out of bounds or not marked by both, and with an error set without memory. */
static PyObject *text_at(const Py_buffer *data, const Marks *marks, const Marks *here, uint64_t offset) {
    uint64_t size = (uint64_t)data->len;
    uint32_t length;
    if (size < LENGTH_SIZE || offset > size - LENGTH_SIZE)
        return NULL;
    const char *start = (const char *)data->buf + offset;
    memcpy(&length, start, sizeof length);
    uint64_t whole = LENGTH_SIZE + (uint64_t)length;
    if (length > size - LENGTH_SIZE - offset || !is_marked(marks, offset, whole) || !is_marked(here, offset, whole))
        return NULL;
    return PyBytes_FromStringAndSize(start + LENGTH_SIZE, length);
}

static PyObject *read_texts(const Py_buffer *data, const Py_buffer *offsets, const Marks *marks, const Marks *here) {
    PyObject *texts = PyList_New(offsets->shape[0]);
    for (Py_ssize_t i = 0; texts && i < offsets->shape[0]; i++) {
        PyObject *text = text_at(data, marks, here, offset_at(offsets, i));
        if (!text) {
            Py_DECREF(texts);
            if (PyErr_Occurred())
                return NULL;
            Py_RETURN_NONE;
        }
        PyList_SET_ITEM(texts, i, text);
    }
    return texts;
}

PyObject *texts_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *data, *offsets, *view, *present;
    Marks marks, here;
    PyObject *texts = NULL;
    if (counted("texts_at", given, 5) && (data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (offsets = hold(&held, args[1], (Wanted){"offsets", 'Q', 1, LOOSE})) &&
        (view = hold(&held, args[2], (Wanted){"marks", 'B', 1, LOOSE})) &&
        (present = hold(&held, args[3], (Wanted){"here", 'B', 1, LOOSE})) && read_block(&marks, view, args[4]) &&
        read_block(&here, present, args[4]))
        texts = read_texts(data, offsets, &marks, &here);
    let_go(&held);
    return texts;
}
