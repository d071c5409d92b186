/* distances, distances_at, bounds_at, norms, norm, unit, squares, refine_at and sift_at as Python calls them. Every
size and place is checked before the GIL is released. */
#include <math.h>
#include <string.h>

#include "faces.h"
#include "vectors.h"

/* Rows of one width, and room for what is computed from them. `memory` is to be freed. */
typedef struct {
    size_t count, dimension;
    const uint8_t **rows;
    void *memory;
    float *out;
} Rows;

/* Components that take less time than handing the GIL to another thread and having it back is worth. */
#define BRIEF ((size_t)1 << 16)

/* Let other threads run while rows are looked at, unless that is soon over. */
static PyThreadState *step_aside(const Rows *rows) {
    return rows->count * rows->dimension > BRIEF ? PyEval_SaveThread() : NULL;
}

static void step_back(PyThreadState *state) {
    if (state)
        PyEval_RestoreThread(state);
}

/* Room for `count` row addresses and for `extra` bytes behind them; false with an error set. */
static int reserve(Rows *rows, Py_ssize_t count, Py_ssize_t dimension, const Py_buffer *out, size_t extra) {
    if (out->shape[0] != count || dimension < 1 || dimension > MOST_COMPONENTS) {
        refuse("rows: the arrays do not fit each other");
        return 0;
    }
    rows->count = (size_t)count;
    rows->dimension = (size_t)dimension;
    rows->out = out->buf;
    rows->memory = PyMem_RawCalloc(1, rows->count * sizeof *rows->rows + extra);
    rows->rows = rows->memory;
    if (!rows->memory)
        PyErr_NoMemory();
    return rows->memory != NULL;
}

/* The first of `padded` numbers of this size that follow the addresses. */
static void *behind(const Rows *rows) {
    return rows->rows + rows->count;
}

static size_t padded(Py_ssize_t dimension) {
    return ((size_t)dimension + LANES - 1) / LANES * LANES;
}

/* Rows at these bytes of `data`; false with ValueError set when one is not within it. */
static int place_at(Rows *rows, const Py_buffer *data, const Py_buffer *offsets, size_t width) {
    for (size_t i = 0; i < rows->count; i++) {
        int64_t offset;
        memcpy(&offset, (const char *)offsets->buf + 8 * i, sizeof offset);
        if (offset < 0 || width > (uint64_t)data->len || (uint64_t)offset > (uint64_t)data->len - width) {
            refuse("rows: a row outside the data");
            return 0;
        }
        rows->rows[i] = (const uint8_t *)data->buf + offset;
    }
    return 1;
}

static void place_all(Rows *rows, const Py_buffer *matrix) {
    for (size_t i = 0; i < rows->count; i++)
        rows->rows[i] = (const uint8_t *)matrix->buf + i * 4 * rows->dimension;
}

static double *widen(const Rows *rows, const Py_buffer *query) {
    double *wide = behind(rows);
    for (size_t i = 0; i < rows->dimension; i++) {
        float component;
        memcpy(&component, (const char *)query->buf + 4 * i, sizeof component);
        wide[i] = component;
    }
    return wide;
}

static void measure(const Rows *rows, const double *query, int cosine) {
    PyThreadState *state = step_aside(rows);
    (cosine ? kernels->cosine : kernels->euclidean)(query, rows->rows, rows->count, rows->dimension, rows->out);
    step_back(state);
}

static PyObject *finish(Held *held, Rows *rows, int done) {
    PyMem_RawFree(rows->memory);
    let_go(held);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *distances_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Rows rows = {0};
    const Py_buffer *query, *data, *offsets, *out;
    int cosine = 0, done = 0;
    if (counted("distances_at", given, 5) && (query = hold(&held, args[0], (Wanted){"query", 'f', 1, LOOSE})) &&
        (data = hold(&held, args[1], (Wanted){"data", 'B', 1, LOOSE})) &&
        (offsets = hold(&held, args[2], (Wanted){"offsets", 'q', 1, LOOSE})) &&
        (cosine = PyObject_IsTrue(args[3])) >= 0 && (out = hold(&held, args[4], (Wanted){"out", 'f', 1, WRITABLE})) &&
        reserve(&rows, offsets->shape[0], query->shape[0], out, sizeof(double) * padded(query->shape[0])) &&
        place_at(&rows, data, offsets, 4 * rows.dimension)) {
        measure(&rows, widen(&rows, query), cosine);
        done = 1;
    }
    return finish(&held, &rows, done);
}

PyObject *bounds_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Rows rows = {0};
    const Py_buffer *query, *data, *offsets, *low, *high;
    double norm = 0;
    int done = 0;
    if (counted("bounds_at", given, 6) && (query = hold(&held, args[0], (Wanted){"query", 'f', 1, LOOSE})) &&
        (data = hold(&held, args[2], (Wanted){"data", 'B', 1, LOOSE})) &&
        (offsets = hold(&held, args[3], (Wanted){"offsets", 'q', 1, LOOSE})) &&
        (low = hold(&held, args[4], (Wanted){"low", 'f', 1, WRITABLE})) &&
        (high = hold(&held, args[5], (Wanted){"high", 'f', 1, WRITABLE}))) {
        int cosine = args[1] != Py_None;
        if (cosine)
            norm = PyFloat_AsDouble(args[1]);
        if (!PyErr_Occurred() && low->shape[0] != high->shape[0])
            refuse("rows: the arrays do not fit each other");
        if (!PyErr_Occurred() &&
            reserve(&rows, offsets->shape[0], query->shape[0], low, sizeof(float) * padded(query->shape[0])) &&
            place_at(&rows, data, offsets, 4 * rows.dimension)) {
            float *asked = behind(&rows);
            memcpy(asked, query->buf, sizeof(float) * rows.dimension);
            Py_BEGIN_ALLOW_THREADS
            if (cosine)
                kernels->bound_cosine(asked, norm, rows.rows, rows.count, rows.dimension, low->buf, high->buf);
            else
                kernels->bound_euclidean(asked, rows.rows, rows.count, rows.dimension, low->buf, high->buf);
            Py_END_ALLOW_THREADS
            done = 1;
        }
    }
    return finish(&held, &rows, done);
}

PyObject *distances(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Rows rows = {0};
    const Py_buffer *query, *matrix, *out;
    int cosine = 0, done = 0;
    if (counted("distances", given, 4) && (query = hold(&held, args[0], (Wanted){"query", 'f', 1, LOOSE})) &&
        (matrix = hold(&held, args[1], (Wanted){"rows", 'f', 2, LOOSE})) && (cosine = PyObject_IsTrue(args[2])) >= 0 &&
        (out = hold(&held, args[3], (Wanted){"out", 'f', 1, WRITABLE}))) {
        if (matrix->shape[1] != query->shape[0])
            refuse("rows: the arrays do not fit each other");
        else if (reserve(&rows, matrix->shape[0], matrix->shape[1], out,
                         sizeof(double) * padded(query->shape[0]))) {
            place_all(&rows, matrix);
            measure(&rows, widen(&rows, query), cosine);
            done = 1;
        }
    }
    return finish(&held, &rows, done);
}

PyObject *norms(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Rows rows = {0};
    const Py_buffer *matrix, *out;
    int done = 0;
    if (counted("norms", given, 2) && (matrix = hold(&held, args[0], (Wanted){"rows", 'f', 2, LOOSE})) &&
        (out = hold(&held, args[1], (Wanted){"out", 'f', 1, WRITABLE})) &&
        reserve(&rows, matrix->shape[0], matrix->shape[1], out, 1)) {
        place_all(&rows, matrix);
        Py_BEGIN_ALLOW_THREADS
        kernels->norms(rows.rows, rows.count, rows.dimension, rows.out);
        Py_END_ALLOW_THREADS
        done = 1;
    }
    return finish(&held, &rows, done);
}

/* The euclidean norm of a vector. Squares of float32 numbers do not overflow in float64, so it is finite unless a
component is not, and zero only if all are. */
static double norm_of(const Py_buffer *vector) {
    double sums[LANES] = {0};
    for (Py_ssize_t i = 0; i < vector->shape[0]; i++) {
        float component;
        memcpy(&component, (const char *)vector->buf + 4 * i, sizeof component);
        sums[i % LANES] += (double)component * component;
    }
    return sqrt(TOTAL(sums, sums + 4));
}

PyObject *norm(PyObject *Py_UNUSED(module), PyObject *argument) {
    Held held = {.count = 0};
    const Py_buffer *vector = hold(&held, argument, (Wanted){"vector", 'f', 1, LOOSE});
    PyObject *length = vector ? PyFloat_FromDouble(norm_of(vector)) : NULL;
    let_go(&held);
    return length;
}

PyObject *unit(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *vector, *out;
    PyObject *length = NULL;
    if (counted("unit", given, 2) && (vector = hold(&held, args[0], (Wanted){"vector", 'f', 1, LOOSE})) &&
        (out = hold(&held, args[1], (Wanted){"out", 'f', 1, WRITABLE}))) {
        if (out->shape[0] != vector->shape[0])
            refuse("unit: the arrays do not fit each other");
        else {
            double whole = norm_of(vector);
            float component, *to = out->buf;
            for (Py_ssize_t i = 0; i < vector->shape[0]; i++) {
                memcpy(&component, (const char *)vector->buf + 4 * i, sizeof component);
                to[i] = (float)(component / whole);
            }
            length = PyFloat_FromDouble(whole);
        }
    }
    let_go(&held);
    return length;
}

PyObject *squares(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *query, *rows, *out;
    int done = 0;
    if (counted("squares", given, 3) && (query = hold(&held, args[0], (Wanted){"query", 'f', 1, ALIGNED})) &&
        (rows = hold(&held, args[1], (Wanted){"rows", 'f', 2, ALIGNED})) &&
        (out = hold(&held, args[2], (Wanted){"out", 'f', 1, WRITABLE}))) {
        if (rows->shape[1] != query->shape[0] || out->shape[0] != rows->shape[0])
            refuse("squares: the arrays do not fit each other");
        else {
            Py_BEGIN_ALLOW_THREADS
            kernels->squares(query->buf, rows->buf, (size_t)rows->shape[0], (size_t)rows->shape[1], out->buf);
            Py_END_ALLOW_THREADS
            done = 1;
        }
    }
    let_go(&held);
    if (!done)
        return NULL;
    Py_RETURN_NONE;
}

/* Scores of rows of bytes, as Python asks for them; `behind` bytes are left behind what that takes. */
typedef struct {
    const Py_buffer *base, *scale, *data, *offsets, *out;
    size_t behind;
} Refined;

static int hold_refined(Held *held, PyObject *const *args, PyObject *out, Refined *refined) {
    return (refined->base = hold(held, args[0], (Wanted){"base", 'f', 1, LOOSE})) &&
           (refined->scale = hold(held, args[1], (Wanted){"scale", 'f', 1, LOOSE})) &&
           (refined->data = hold(held, args[2], (Wanted){"data", 'B', 1, LOOSE})) &&
           (refined->offsets = hold(held, args[3], (Wanted){"offsets", 'q', 1, LOOSE})) &&
           (refined->out = hold(held, out, (Wanted){"out", 'f', 1, WRITABLE}));
}

/* Place the rows, with base and scale behind them; false with an error set. */
static int place_refined(Rows *rows, const Refined *refined) {
    size_t width = padded(refined->base->shape[0]);
    if (refined->scale->shape[0] != refined->base->shape[0])
        return refuse("rows: the arrays do not fit each other") != NULL;
    if (!reserve(rows, refined->offsets->shape[0], refined->base->shape[0], refined->out,
                 2 * sizeof(float) * width + refined->behind) ||
        !place_at(rows, refined->data, refined->offsets, rows->dimension))
        return 0;
    float *own = behind(rows);
    memcpy(own, refined->base->buf, sizeof *own * rows->dimension);
    memcpy(own + width, refined->scale->buf, sizeof *own * rows->dimension);
    return 1;
}

static void refine(const Rows *rows) {
    const float *own = behind(rows);
    kernels->refine(own, own + padded((Py_ssize_t)rows->dimension), rows->rows, rows->count, rows->dimension,
                    rows->out);
}

PyObject *refine_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Rows rows = {0};
    Refined refined = {.behind = 0};
    int done = 0;
    if (counted("refine_at", given, 5) && hold_refined(&held, args, args[4], &refined) &&
        place_refined(&rows, &refined)) {
        PyThreadState *state = step_aside(&rows);
        refine(&rows);
        step_back(state);
        done = 1;
    }
    return finish(&held, &rows, done);
}

/* Of all scores, move those up to `most` to the front, and write their numbers; how many there are. */
static size_t take_up_to(const Rows *rows, float most, int64_t *numbers) {
    size_t count = 0;
    for (size_t i = 0; i < rows->count; i++) {
        float score = rows->out[i];
        numbers[count] = (int64_t)i;
        rows->out[count] = score;
        count += score <= most;
    }
    return count;
}

static size_t count_numbers(const Rows *rows) {
    size_t count = 0;
    for (size_t i = 0; i < rows->count; i++)
        count += !isnan(rows->out[i]);
    return count;
}

/* Which scores are chosen; see `sift_at` in _kernels.pyi. */
typedef struct {
    size_t keep, near;
    double doubt;
    int64_t *numbers;
    void *memory;
} Sift;

static size_t sift(const Rows *rows, const Sift *sift) {
    refine(rows);
    float most = nearest_last(rows->out, rows->count, sift->keep, sift->memory);
    if (sift->near) {
        double last = nearest_last(rows->out, rows->count, sift->near, sift->memory);
        if (isfinite(last)) {
            float near = (float)(last + sift->doubt * sqrt(last > 0 ? last : 0));
            return take_up_to(rows, near < most ? near : most, sift->numbers);
        }
    }
    if (count_numbers(rows) >= sift->keep)
        return take_up_to(rows, most, sift->numbers);
    for (size_t i = 0; i < rows->count; i++)
        sift->numbers[i] = (int64_t)i;
    return rows->count;
}

/* The numbers among the arguments; false with an error set. */
static int read_sift(Sift *sift, PyObject *const *args, const Py_buffer *numbers, Py_ssize_t count) {
    Py_ssize_t keep = PyLong_AsSsize_t(args[4]), near = PyErr_Occurred() ? 0 : PyLong_AsSsize_t(args[5]);
    double doubt = PyErr_Occurred() ? 0 : PyFloat_AsDouble(args[6]);
    if (PyErr_Occurred())
        return 0;
    if (keep < 1 || near < 0 || near > keep || near > count || numbers->shape[0] != count)
        return refuse("sift: the arrays and numbers do not fit each other") != NULL;
    *sift = (Sift){(size_t)(keep < count ? keep : count), (size_t)near, doubt, numbers->buf, NULL};
    return 1;
}

PyObject *sift_at(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Rows rows = {0};
    Refined refined = {.behind = 0};
    Sift choice = {.keep = 0};
    const Py_buffer *numbers;
    PyObject *found = NULL;
    if (counted("sift_at", given, 9) && hold_refined(&held, args, args[8], &refined) &&
        (numbers = hold(&held, args[7], (Wanted){"numbers", 'q', 1, WRITABLE})) &&
        read_sift(&choice, args, numbers, refined.offsets->shape[0])) {
        refined.behind = nearest_bytes(choice.keep);
        if (place_refined(&rows, &refined)) {
            choice.memory = (float *)behind(&rows) + 2 * padded((Py_ssize_t)rows.dimension);
            PyThreadState *state = step_aside(&rows);
            size_t count = sift(&rows, &choice);
            step_back(state);
            found = PyLong_FromSize_t(count);
        }
    }
    PyMem_RawFree(rows.memory);
    let_go(&held);
    return found;
}
