/* covered, all_marked, run_places, pick_parts, take_notes, tally, touch, touch_parts and texts_at as Python calls them: where bytes are, whether they
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

/* The blocks of an object, and what is noted of them. */
typedef struct {
    const uint8_t *here, *kept;
    uint8_t *hot, *seen;
    int64_t *used;
    int64_t count, block, epoch, horizon;
    int64_t *met; /* how many were touched, and how many of them are kept */
} Blocks;

/* The blocks, and the arrays that they are in. */
typedef struct {
    Blocks blocks;
    Held held;
    int64_t met[2];
} Notes;

static const char NOTES[] = "quiver.notes";

/* Note that a range is used; whether its blocks are all here. Empty ranges are. */
static int touch_range(const Blocks *blocks, int64_t start, int64_t end) {
    if (start >= end)
        return 1;
    if (start < 0 || end > blocks->count * blocks->block)
        return 0;
    int here = 1;
    int64_t first = start / blocks->block, last = (end - 1) / blocks->block;
    for (int64_t block = first; block <= last; block++) {
        int64_t used = blocks->used[block];
        blocks->hot[block] |= used < blocks->horizon;
        blocks->used[block] = used > blocks->epoch ? used : blocks->epoch;
        blocks->met[0] += !blocks->seen[block];
        blocks->met[1] += !blocks->seen[block] && blocks->kept[block];
        blocks->seen[block] = 1;
        here &= blocks->here[block];
    }
    return here;
}

static void forget_notes(PyObject *capsule) {
    Notes *notes = PyCapsule_GetPointer(capsule, NOTES);
    let_go(&notes->held);
    PyMem_Free(notes);
}

/* The arrays and numbers of `take_notes`; false with an error set. */
static int read_notes(Notes *notes, PyObject *const *args) {
    Held *held = &notes->held;
    const Py_buffer *here, *kept, *used, *hot, *seen;
    if (!(here = hold(held, args[0], (Wanted){"here", '?', 1, LOOSE})) ||
        !(kept = hold(held, args[1], (Wanted){"kept", '?', 1, LOOSE})) ||
        !(used = hold(held, args[2], (Wanted){"used", 'q', 1, WRITABLE})) ||
        !(hot = hold(held, args[3], (Wanted){"hot", '?', 1, WRITABLE})) ||
        !(seen = hold(held, args[4], (Wanted){"seen", '?', 1, WRITABLE})))
        return 0;
    notes->blocks = (Blocks){here->buf,
                             kept->buf,
                             hot->buf,
                             seen->buf,
                             used->buf,
                             here->len,
                             PyLong_AsLongLong(args[5]),
                             PyLong_AsLongLong(args[6]),
                             PyLong_AsLongLong(args[7]),
                             notes->met};
    if (PyErr_Occurred())
        return 0;
    if (notes->blocks.block < 1 || used->shape[0] != here->len || hot->len != here->len || seen->len != here->len ||
        kept->len != here->len || here->len > INT64_MAX / notes->blocks.block)
        refuse("notes: arrays of one length, and blocks of some size, are due");
    return !PyErr_Occurred();
}

PyObject *take_notes(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    if (!counted("take_notes", given, 8))
        return NULL;
    Notes *notes = PyMem_Calloc(1, sizeof *notes);
    if (!notes)
        return PyErr_NoMemory();
    PyObject *capsule = read_notes(notes, args) ? PyCapsule_New(notes, NOTES, forget_notes) : NULL;
    if (!capsule) {
        let_go(&notes->held);
        PyMem_Free(notes);
    }
    return capsule;
}

/* The blocks of an argument, NULL for None; false with an error set. */
static int find_notes(const Blocks **blocks, PyObject *argument) {
    *blocks = NULL;
    if (argument == Py_None)
        return 1;
    if (!PyCapsule_IsValid(argument, NOTES)) {
        PyErr_SetString(PyExc_TypeError, "notes are due, as take_notes makes them");
        return 0;
    }
    *blocks = &((Notes *)PyCapsule_GetPointer(argument, NOTES))->blocks;
    return 1;
}

/* The blocks of an argument; NULL with an error set. */
static const Blocks *notes_of(PyObject *argument) {
    const Blocks *blocks;
    if (find_notes(&blocks, argument) && !blocks)
        PyErr_SetString(PyExc_TypeError, "notes are due, as take_notes makes them");
    return blocks;
}

PyObject *tally(PyObject *Py_UNUSED(module), PyObject *notes) {
    const Blocks *blocks = notes_of(notes);
    return blocks ? Py_BuildValue("LL", (long long)blocks->met[0], (long long)blocks->met[1]) : NULL;
}

static int touch_one(const Blocks *blocks, PyObject *const *places) {
    int64_t start = PyLong_AsLongLong(places[0]), end = PyLong_AsLongLong(places[1]);
    return PyErr_Occurred() ? 0 : touch_range(blocks, start, end);
}

PyObject *touch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *starts, *ends;
    const Blocks *blocks;
    int here = 1;
    if (!counted("touch", given, 3) || !(blocks = notes_of(args[0])))
        return NULL;
    if (PyLong_Check(args[1])) {
        here = touch_one(blocks, args + 1);
    } else if ((starts = hold(&held, args[1], (Wanted){"starts", 'q', 1, ALIGNED})) &&
               (ends = hold(&held, args[2], (Wanted){"ends", 'q', 1, ALIGNED}))) {
        if (starts->shape[0] != ends->shape[0])
            refuse("touch: as many ends as starts are due");
        else
            for (Py_ssize_t i = 0; i < starts->shape[0]; i++)
                here &= touch_range(blocks, ((const int64_t *)starts->buf)[i], ((const int64_t *)ends->buf)[i]);
    }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(here);
}

PyObject *touch_parts(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *bounds, *numbers;
    const Blocks *blocks;
    int here = 1;
    if (counted("touch_parts", given, 3) && (blocks = notes_of(args[0])) &&
        (bounds = hold(&held, args[1], (Wanted){"bounds", 'q', 1, ALIGNED})) &&
        (numbers = hold(&held, args[2], (Wanted){"numbers", 'q', 1, LOOSE})))
        for (Py_ssize_t i = 0; i < numbers->shape[0] && !PyErr_Occurred(); i++) {
            uint64_t number = offset_at(numbers, i);
            const int64_t *places = bounds->buf;
            if (number >= (uint64_t)bounds->shape[0] || number + 1 >= (uint64_t)bounds->shape[0])
                refuse("touch: a part past the last");
            else
                here &= touch_range(blocks, places[number], places[number + 1]);
        }
    let_go(&held);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(here);
}

PyObject *covered(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *view, *offsets;
    const Blocks *blocks;
    Marks marks;
    int good = 0;
    if (counted("covered", given, 5) && (view = hold(&held, args[0], (Wanted){"marks", 'B', 1, LOOSE})) &&
        read_block(&marks, view, args[1]) && (offsets = hold(&held, args[2], (Wanted){"offsets", 'q', 1, LOOSE})) &&
        find_notes(&blocks, args[4])) {
        long long width = PyLong_AsLongLong(args[3]);
        good = width > 0;
        for (Py_ssize_t i = 0; width > 0 && i < offsets->shape[0]; i++) {
            uint64_t offset = offset_at(offsets, i);
            good &= offset <= (uint64_t)(INT64_MAX - width) &&
                    (!blocks || touch_range(blocks, (int64_t)offset, (int64_t)offset + width)) &&
                    is_marked(&marks, offset, (uint64_t)width);
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
    const Blocks *blocks; /* NULL when all bytes are here */
    int64_t start;        /* of the data, in the object that has these blocks */
} Parts;

/* The part of a row; NULL when it is out of bounds or not here, or its partition is not marked. */
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
    uint64_t at = (uint64_t)place + size * parts->before + (uint64_t)(row - first) * parts->width;
    int64_t start = parts->start + (int64_t)at;
    if (parts->blocks && !touch_range(parts->blocks, start, start + (int64_t)parts->width))
        return NULL;
    return (const char *)parts->data->buf + at;
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
    if (counted("pick_parts", given, 9) && (parts.data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (parts.places = hold(&held, args[1], (Wanted){"places", 'q', 1, ALIGNED})) &&
        (parts.ends = hold(&held, args[2], (Wanted){"ends", 'q', 1, ALIGNED})) &&
        (parts.marks = hold(&held, args[3], (Wanted){"marks", '?', 1, LOOSE})) &&
        (rows = hold(&held, args[5], (Wanted){"rows", 'q', 1, ALIGNED})) &&
        (out = hold(&held, args[6], (Wanted){"out", 'Q', 2, WRITABLE})) && find_notes(&parts.blocks, args[7])) {
        long long before = PyLong_AsLongLong(args[4]), start = PyLong_AsLongLong(args[8]);
        if ((before < 0 || start < 0 || start > INT64_MAX - parts.data->len) && !PyErr_Occurred())
            refuse("parts: a negative size, or a place past the last");
        else if (!PyErr_Occurred()) {
            parts.start = start;
            parts.before = (uint64_t)before;
            parts.width = 8 * (uint64_t)out->shape[0];
            done = run_pick(&parts, rows, out);
        }
    }
    let_go(&held);
    return done;
}

/* The text at an offset; NULL when it is out of bounds, not here or not marked, and with an error set without memory.
The length is looked at only when it is here, too. */
static PyObject *text_at(const Py_buffer *data, const Marks *marks, const Blocks *blocks, uint64_t offset) {
    uint64_t size = (uint64_t)data->len;
    uint32_t length;
    if (size < LENGTH_SIZE || offset > size - LENGTH_SIZE ||
        (blocks && !touch_range(blocks, (int64_t)offset, (int64_t)offset + LENGTH_SIZE)))
        return NULL;
    const char *start = (const char *)data->buf + offset;
    memcpy(&length, start, sizeof length);
    uint64_t whole = LENGTH_SIZE + (uint64_t)length;
    if (length > size - LENGTH_SIZE - offset || !is_marked(marks, offset, whole) ||
        (blocks && !touch_range(blocks, (int64_t)offset, (int64_t)(offset + whole))))
        return NULL;
    return PyBytes_FromStringAndSize(start + LENGTH_SIZE, length);
}

static PyObject *read_texts(const Py_buffer *data, const Py_buffer *offsets, const Marks *marks,
                            const Blocks *blocks) {
    PyObject *texts = PyList_New(offsets->shape[0]);
    for (Py_ssize_t i = 0; texts && i < offsets->shape[0]; i++) {
        PyObject *text = text_at(data, marks, blocks, offset_at(offsets, i));
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
    const Py_buffer *data, *offsets, *view;
    const Blocks *blocks;
    Marks marks;
    PyObject *texts = NULL;
    if (counted("texts_at", given, 5) && (data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (offsets = hold(&held, args[1], (Wanted){"offsets", 'Q', 1, LOOSE})) &&
        (view = hold(&held, args[2], (Wanted){"marks", 'B', 1, LOOSE})) && read_block(&marks, view, args[3]) &&
        find_notes(&blocks, args[4]))
        texts = read_texts(data, offsets, &marks, blocks);
    let_go(&held);
    return texts;
}
