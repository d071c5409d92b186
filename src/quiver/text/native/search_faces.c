/* The functions that read posting lists. */
#include <math.h>
#include <stdlib.h>

#include "faces.h"
#include "search.h"

/* Everything that a question is made of, held. */
typedef struct {
    Held held;
    Py_buffer *buffers;
    size_t buffer_count;
    Question question;
} Asked;

static PyObject *damaged(void) {
    PyErr_SetString(damaged_error, "inconsistent postings");
    return NULL;
}

static void release(Asked *asked) {
    while (asked->buffer_count)
        PyBuffer_Release(asked->buffers + --asked->buffer_count);
    PyMem_RawFree(asked->buffers);
    PyMem_RawFree(asked->question.lists);
    let_go(&asked->held);
}

/* Open the lists of all terms. */
static int hold_lists(Asked *asked, PyObject *lists, const int64_t *frequencies) {
    size_t terms = asked->question.terms;
    asked->buffers = PyMem_RawCalloc(terms + 1, sizeof *asked->buffers);
    asked->question.lists = PyMem_RawCalloc(terms + 1, sizeof *asked->question.lists);
    if (!asked->buffers || !asked->question.lists) {
        PyErr_NoMemory();
        return 0;
    }
    for (size_t i = 0; i < terms; i++) {
        Py_buffer *buffer = asked->buffers + i;
        if (PyObject_GetBuffer(PyList_GET_ITEM(lists, (Py_ssize_t)i), buffer, PyBUF_SIMPLE) < 0)
            return 0;
        asked->buffer_count++;
        if (frequencies[i] < 0 || !list_open(asked->question.lists + i, buffer->buf, (size_t)buffer->len,
                                             (size_t)frequencies[i], asked->question.rows)) {
            damaged();
            return 0;
        }
    }
    return 1;
}

static int hold_lengths(Asked *asked, PyObject *object) {
    const Py_buffer *lengths = hold(&asked->held, object, (Wanted){"lengths", 'B', 1, LOOSE});
    size_t rows = asked->question.rows;
    if (!lengths)
        return 0;
    unsigned width = (size_t)lengths->len == rows ? 1 : 2;
    asked->question.lengths = (Lengths){lengths->buf, width};
    if ((size_t)lengths->len == rows * width)
        return 1;
    refuse("lengths: one or two bytes for each row are due");
    return 0;
}

static int hold_weights(Asked *asked, PyObject *object, PyObject *average) {
    const Py_buffer *weights = hold(&asked->held, object, (Wanted){"weights", 'd', 1, ALIGNED});
    if (!weights)
        return 0;
    asked->question.weights = weights->buf;
    asked->question.average_length = PyFloat_AsDouble(average);
    if (PyErr_Occurred())
        return 0;
    int fine = (size_t)weights->shape[0] == asked->question.terms && asked->question.average_length > 0 &&
               isfinite(asked->question.average_length);
    for (size_t i = 0; fine && i < asked->question.terms; i++)
        fine = asked->question.weights[i] > 0 && isfinite(asked->question.weights[i]);
    if (!fine)
        refuse("weights and average length have to be positive, and as many as there are lists");
    return fine;
}

/* Arguments lists, frequencies, weights, lengths, average length, rows. */
static int ask(Asked *asked, PyObject *const *args) {
    const Py_buffer *frequencies = hold(&asked->held, args[1], (Wanted){"frequencies", 'q', 1, ALIGNED});
    Py_ssize_t rows = PyLong_AsSsize_t(args[5]);
    if (!frequencies || PyErr_Occurred())
        return 0;
    if (!PyList_Check(args[0]) || PyList_GET_SIZE(args[0]) != frequencies->shape[0] || rows < 0 || rows > MOST_ROWS) {
        refuse("a list of as many buffers as there are frequencies is due");
        return 0;
    }
    asked->question.rows = (size_t)rows;
    asked->question.terms = (size_t)frequencies->shape[0];
    return hold_weights(asked, args[2], args[4]) && hold_lengths(asked, args[3]) &&
           hold_lists(asked, args[0], frequencies->buf);
}

static PyObject *as_arrays(const Collector *found) {
    Py_ssize_t size = (Py_ssize_t)(found->count * 8);
    PyObject *rows = PyBytes_FromStringAndSize(NULL, size), *scores = PyBytes_FromStringAndSize(NULL, size);
    if (!rows || !scores) {
        Py_XDECREF(rows);
        Py_XDECREF(scores);
        return NULL;
    }
    for (size_t i = 0; i < found->count; i++) {
        memcpy(PyBytes_AS_STRING(rows) + 8 * i, &found->hits[i].row, 8);
        memcpy(PyBytes_AS_STRING(scores) + 8 * i, &found->hits[i].score, 8);
    }
    return Py_BuildValue("NN", rows, scores);
}

static PyObject *run_search(const Question *question, const Py_buffer *mask, Py_ssize_t limit) {
    Collector found;
    Outcome outcome;
    PyObject *arrays = NULL;
    if (limit < 1 || (mask && (size_t)mask->shape[0] != question->rows))
        return refuse("a limit from 1 and a mask of every row are due");
    Py_BEGIN_ALLOW_THREADS
    outcome = search_rows(question, mask ? mask->buf : NULL, (size_t)limit, &found);
    Py_END_ALLOW_THREADS
    if (outcome == FINE)
        arrays = as_arrays(&found);
    free(found.hits);
    free(found.best);
    return outcome == FINE ? arrays : outcome == DAMAGED ? damaged() : PyErr_NoMemory();
}

PyObject *search(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Asked asked = {.buffers = NULL};
    const Py_buffer *mask = NULL;
    PyObject *found = NULL;
    if (counted("search", given, 8) && ask(&asked, args) &&
        (args[6] == Py_None || (mask = hold(&asked.held, args[6], (Wanted){"mask", '?', 1, ALIGNED})))) {
        Py_ssize_t limit = PyLong_AsSsize_t(args[7]);
        if (limit != -1 || !PyErr_Occurred())
            found = run_search(&asked.question, mask, limit);
    }
    release(&asked);
    return found;
}

static int ascend(const int64_t *rows, size_t count, size_t limit) {
    for (size_t i = 0; i < count; i++)
        if (rows[i] < 0 || (size_t)rows[i] >= limit || (i && rows[i] <= rows[i - 1]))
            return 0;
    return 1;
}

static PyObject *run_score(const Question *question, const Py_buffer *rows, const Py_buffer *out) {
    Outcome outcome;
    if (rows->shape[0] != out->shape[0] || !ascend(rows->buf, (size_t)rows->shape[0], question->rows))
        return refuse("ascending rows and as many scores are due");
    Py_BEGIN_ALLOW_THREADS
    outcome = score_rows(question, rows->buf, (size_t)rows->shape[0], out->buf);
    Py_END_ALLOW_THREADS
    if (outcome == DAMAGED)
        return damaged();
    Py_RETURN_NONE;
}

PyObject *score(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Asked asked = {.buffers = NULL};
    const Py_buffer *rows, *out;
    PyObject *done = NULL;
    if (counted("score", given, 8) && ask(&asked, args) &&
        (rows = hold(&asked.held, args[6], (Wanted){"rows", 'q', 1, ALIGNED})) &&
        (out = hold(&asked.held, args[7], (Wanted){"scores", 'd', 1, WRITABLE})))
        done = run_score(&asked.question, rows, out);
    release(&asked);
    return done;
}

static PyObject *run_overlap(const Py_buffer *bytes, Py_ssize_t frequency, Py_ssize_t total, const Py_buffer *rows) {
    List list;
    int64_t common = -1;
    if (frequency < 0 || total < 0 || total > MOST_ROWS || !ascend(rows->buf, (size_t)rows->shape[0], (size_t)total))
        return refuse("ascending rows of the segment are due");
    Py_BEGIN_ALLOW_THREADS
    if (list_open(&list, bytes->buf, (size_t)bytes->len, (size_t)frequency, (size_t)total))
        common = list_overlap(&list, rows->buf, (size_t)rows->shape[0]);
    Py_END_ALLOW_THREADS
    return common < 0 ? damaged() : PyLong_FromLongLong(common);
}

PyObject *overlap(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *bytes, *rows;
    PyObject *common = NULL;
    if (counted("overlap", given, 4) && (bytes = hold(&held, args[0], (Wanted){"list", 'B', 1, LOOSE})) &&
        (rows = hold(&held, args[3], (Wanted){"rows", 'q', 1, ALIGNED}))) {
        Py_ssize_t frequency = PyLong_AsSsize_t(args[1]), total = PyErr_Occurred() ? -1 : PyLong_AsSsize_t(args[2]);
        if (!PyErr_Occurred())
            common = run_overlap(bytes, frequency, total, rows);
    }
    let_go(&held);
    return common;
}
