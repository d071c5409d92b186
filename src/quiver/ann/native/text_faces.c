/* slices_of and page_of as Python calls them: texts cut out of the bytes they lie in, and put one after the other. */
#include <stdint.h>
#include <string.h>

#include "faces.h"

#define LENGTH_SIZE 4 /* bytes of the length before a text */
#define PAGE 4096
#define MANY 1000         /* texts that take longer than handing the GIL to another thread and having it back */
#define LARGE (64 * 1024) /* bytes that do */

typedef struct {
    const Py_buffer *data, *starts, *ends;
} Ranges;

/* The bytes of a range, and how many; NULL when it is not within the data. */
static const char *range_at(const Ranges *ranges, Py_ssize_t number, int64_t *length) {
    int64_t start, end;
    memcpy(&start, (const char *)ranges->starts->buf + 8 * number, sizeof start);
    memcpy(&end, (const char *)ranges->ends->buf + 8 * number, sizeof end);
    if (start < 0 || end < start || end > ranges->data->len)
        return NULL;
    *length = end - start;
    return (const char *)ranges->data->buf + start;
}

/* Read something of every page, so that those of a mapped file come while other threads run. */
static void bring_here(const Ranges *ranges) {
    volatile char read;
    for (Py_ssize_t i = 0; i < ranges->starts->shape[0]; i++) {
        int64_t length;
        const char *bytes = range_at(ranges, i, &length);
        for (int64_t place = 0; bytes && place < length; place += PAGE)
            read = bytes[place];
        if (bytes && length)
            read = bytes[length - 1];
    }
    (void)read;
}

static PyObject *cut(const Ranges *ranges) {
    Py_ssize_t count = ranges->starts->shape[0];
    if (ranges->ends->shape[0] != count)
        return refuse("ranges: the arrays do not fit each other");
    if (count >= MANY) {
        Py_BEGIN_ALLOW_THREADS
        bring_here(ranges);
        Py_END_ALLOW_THREADS
    }
    PyObject *slices = PyList_New(count);
    for (Py_ssize_t i = 0; slices && i < count; i++) {
        int64_t length;
        const char *bytes = range_at(ranges, i, &length);
        PyObject *slice = bytes ? PyBytes_FromStringAndSize(bytes, length) : refuse("ranges: one outside the data");
        if (slice)
            PyList_SET_ITEM(slices, i, slice);
        else
            Py_CLEAR(slices);
    }
    return slices;
}

PyObject *slices_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Ranges ranges;
    PyObject *slices = NULL;
    if (counted("slices_of", given, 3) && (ranges.data = hold(&held, args[0], (Wanted){"data", 'B', 1, LOOSE})) &&
        (ranges.starts = hold(&held, args[1], (Wanted){"starts", 'q', 1, LOOSE})) &&
        (ranges.ends = hold(&held, args[2], (Wanted){"ends", 'q', 1, LOOSE})))
        slices = cut(&ranges);
    let_go(&held);
    return slices;
}

/* Each text with its length before it, in `page`. */
static void fill_page(PyObject *texts, char *page) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(texts); i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        uint32_t length = (uint32_t)PyBytes_GET_SIZE(text);
        memcpy(page, &length, sizeof length);
        memcpy(page + LENGTH_SIZE, PyBytes_AS_STRING(text), length);
        page += LENGTH_SIZE + (size_t)length;
    }
}

/* `texts` keeps them while other threads run. */
static PyObject *make_page(PyObject *texts, const Py_buffer *sizes) {
    Py_ssize_t total = 0;
    if (sizes->shape[0] != PyTuple_GET_SIZE(texts))
        return refuse("texts: the arrays do not fit each other");
    for (Py_ssize_t i = 0; i < sizes->shape[0]; i++) {
        PyObject *text = PyTuple_GET_ITEM(texts, i);
        if (!PyBytes_CheckExact(text)) {
            PyErr_SetString(PyExc_TypeError, "texts: one is not bytes");
            return NULL;
        }
        int64_t size = PyBytes_GET_SIZE(text);
        if (size > UINT32_MAX)
            return refuse("texts: one is too long");
        ((int64_t *)sizes->buf)[i] = size;
        total += LENGTH_SIZE + size;
    }
    PyObject *page = PyBytes_FromStringAndSize(NULL, total);
    if (page && total > LARGE) {
        Py_BEGIN_ALLOW_THREADS
        fill_page(texts, PyBytes_AS_STRING(page));
        Py_END_ALLOW_THREADS
    } else if (page)
        fill_page(texts, PyBytes_AS_STRING(page));
    return page;
}

PyObject *page_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *sizes;
    PyObject *texts = NULL, *page = NULL;
    if (counted("page_of", given, 2) && (texts = PySequence_Tuple(args[0])) &&
        (sizes = hold(&held, args[1], (Wanted){"sizes", 'q', 1, WRITABLE})))
        page = make_page(texts, sizes);
    Py_XDECREF(texts);
    let_go(&held);
    return page;
}
