/* covered and texts_at as Python calls them: whether ranges of bytes were verified, and texts that were. */
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

/* The text at an offset; NULL, with an error set only without memory, when it is out of bounds or not marked. */
static PyObject *text_at(const Py_buffer *data, const Marks *marks, uint64_t offset) {
    uint64_t size = (uint64_t)data->len;
    uint32_t length;
    if (size < LENGTH_SIZE || offset > size - LENGTH_SIZE)
        return NULL;
    const char *start = (const char *)data->buf + offset;
    memcpy(&length, start, sizeof length);
    if (length > size - LENGTH_SIZE - offset || !is_marked(marks, offset, LENGTH_SIZE + (uint64_t)length))
        return NULL;
    return PyBytes_FromStringAndSize(start + LENGTH_SIZE, length);
}

static PyObject *read_texts(const Py_buffer *data, const Py_buffer *offsets, const Marks *marks) {
    PyObject *texts = PyList_New(offsets->shape[0]);
    for (Py_ssize_t i = 0; texts && i < offsets->shape[0]; i++) {
        PyObject *text = text_at(data, marks, offset_at(offsets, i));
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
    Marks marks;
    PyObject *texts = NULL;
    if (counted("texts_at", given, 4) && (data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (offsets = hold(&held, args[1], (Wanted){"offsets", 'Q', 1, LOOSE})) &&
        (view = hold(&held, args[2], (Wanted){"marks", 'B', 1, LOOSE})) && read_block(&marks, view, args[3]))
        texts = read_texts(data, offsets, &marks);
    let_go(&held);
    return texts;
}
