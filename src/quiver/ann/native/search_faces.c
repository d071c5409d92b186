/* rabitq_scan, rotate and rotate_rows as Python calls them. Every size and place is checked before the GIL is released,
and what was checked is copied, so that no other thread can change it. */
#include <math.h>
#include <string.h>

#include "faces.h"

typedef struct {
    const Py_buffer *query, *origins, *codes, *offsets, *ends, *partitions, *allowed, *rows, *scores;
} ScanArrays;

static int hold_scan(Held *held, PyObject *const *args, ScanArrays *arrays) {
    return (arrays->query = hold(held, args[0], (Wanted){"query", 'f', 1, LOOSE})) &&
           (arrays->origins = hold(held, args[1], (Wanted){"origins", 'f', 2, ALIGNED})) &&
           (arrays->codes = hold(held, args[2], (Wanted){"codes", 'B', 1, LOOSE})) &&
           (arrays->offsets = hold(held, args[3], (Wanted){"offsets", 'q', 1, LOOSE})) &&
           (arrays->ends = hold(held, args[4], (Wanted){"ends", 'q', 1, LOOSE})) &&
           (arrays->partitions = hold(held, args[5], (Wanted){"partitions", 'q', 1, LOOSE})) &&
           (args[6] == Py_None || (arrays->allowed = hold(held, args[6], (Wanted){"allowed", '?', 1, LOOSE}))) &&
           (arrays->rows = hold(held, args[7], (Wanted){"rows", 'q', 1, WRITABLE})) &&
           (arrays->scores = hold(held, args[8], (Wanted){"scores", 'f', 1, WRITABLE}));
}

/* Whether the shapes of the arrays agree. */
static int fits(const ScanArrays *arrays, Scan *scan) {
    Py_ssize_t count = arrays->origins->shape[0], dimension = arrays->query->shape[0];
    if (dimension < 1 || dimension > MOST_SCANNED || arrays->origins->shape[1] != dimension)
        return 0;
    if (arrays->offsets->shape[0] != count || arrays->ends->shape[0] != count)
        return 0;
    if (arrays->rows->shape[0] != arrays->scores->shape[0])
        return 0;
    int64_t rows = 0;
    if (count)
        memcpy(&rows, (const char *)arrays->ends->buf + 8 * (count - 1), sizeof rows);
    if (rows < 0 || rows > MOST_ROWS || (arrays->allowed && arrays->allowed->shape[0] != rows))
        return 0;
    scan->dimension = (size_t)dimension;
    scan->steps = ((size_t)dimension + 7) / 8;
    scan->code_size = scan->steps + FACTORS_SIZE;
    scan->part_count = (size_t)arrays->partitions->shape[0];
    scan->allowed = arrays->allowed ? arrays->allowed->buf : NULL;
    return 1;
}

/* Where a partition lies; false when it is not one, or its blocks are not within the codes, or its rows not among all. */
static int find_part(const ScanArrays *arrays, const Scan *scan, size_t number, Part *part) {
    int64_t partition, ends[2] = {0, 0}, offset, rows;
    memcpy(&partition, (const char *)arrays->partitions->buf + 8 * number, sizeof partition);
    if (partition < 0 || partition >= arrays->ends->shape[0])
        return 0;
    if (partition)
        memcpy(ends, (const char *)arrays->ends->buf + 8 * (partition - 1), sizeof *ends);
    memcpy(ends + 1, (const char *)arrays->ends->buf + 8 * partition, sizeof *ends);
    memcpy(&offset, (const char *)arrays->offsets->buf + 8 * partition, sizeof offset);
    memcpy(&rows, (const char *)arrays->ends->buf + 8 * (arrays->ends->shape[0] - 1), sizeof rows);
    if (ends[0] < 0 || ends[1] < ends[0] || ends[1] > rows || offset < 0 || offset > arrays->codes->len)
        return 0;
    uint64_t size = (uint64_t)(ends[1] - ends[0]), blocks = (size + BLOCK_CODES - 1) / BLOCK_CODES;
    if (blocks > (uint64_t)(arrays->codes->len - offset) / (scan->code_size * BLOCK_CODES))
        return 0;
    part->row = (uint64_t)ends[0];
    part->codes = (const uint8_t *)arrays->codes->buf + offset;
    part->origin = (const float *)arrays->origins->buf + (size_t)partition * scan->dimension;
    part->size = (size_t)size;
    return 1;
}

/* Scratch of a scan in one piece, to be freed; NULL without memory. */
static void *lay_out(Scan *scan, const float *query) {
    size_t numbers = (scan->steps + 1) / 2 * 16, floats = numbers * sizeof(float);
    size_t parts = scan->part_count * sizeof *scan->parts;
    char *memory = PyMem_RawCalloc(1, parts + 2 * floats + numbers + 32 * scan->steps);
    if (!memory)
        return NULL;
    scan->parts = (Part *)memory;
    scan->placed = (float *)(memory + parts);
    scan->query = (float *)(memory + parts + floats);
    scan->levels = (uint8_t *)memory + parts + 2 * floats;
    scan->tables = scan->levels + numbers;
    memcpy(memory + parts + floats, query, scan->dimension * sizeof *query);
    return memory;
}

static PyObject *run_scan(const ScanArrays *arrays) {
    Scan scan;
    if (!fits(arrays, &scan))
        return refuse("scan: the arrays do not fit each other");
    void *memory = lay_out(&scan, arrays->query->buf);
    if (!memory)
        return PyErr_NoMemory();
    int good = 1;
    scan.code_count = 0;
    for (size_t number = 0; good && number < scan.part_count; number++) {
        good = find_part(arrays, &scan, number, (Part *)memory + number);
        scan.code_count += good ? scan.parts[number].size : 0;
    }
    if (!good) {
        PyMem_RawFree(memory);
        return refuse("scan: a partition outside the codes");
    }
    size_t limit = scan.code_count < (size_t)arrays->rows->shape[0] ? scan.code_count : (size_t)arrays->rows->shape[0];
    void *entries = PyMem_RawMalloc(nearest_bytes(limit));
    if (!entries) {
        PyMem_RawFree(memory);
        return PyErr_NoMemory();
    }
    Nearest found = nearest_in(entries, limit);
    Py_BEGIN_ALLOW_THREADS
    kernels->scan(&scan, &found);
    nearest_take(&found, arrays->rows->buf, arrays->scores->buf);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(entries);
    PyMem_RawFree(memory);
    return PyLong_FromSize_t(found.count);
}

PyObject *rabitq_scan(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    ScanArrays arrays = {0};
    PyObject *found = NULL;
    if (counted("rabitq_scan", given, 9) && hold_scan(&held, args, &arrays))
        found = run_scan(&arrays);
    let_go(&held);
    return found;
}

/* What is turned; its scratch is yet to be had. False with ValueError set when the arrays do not fit each other. */
static int hold_turn(Held *held, PyObject *const *args, Py_ssize_t dimension, Turn *turn) {
    const Py_buffer *signs, *left, *right;
    if (!(signs = hold(held, args[0], (Wanted){"signs", 'f', 2, ALIGNED})) ||
        !(left = hold(held, args[1], (Wanted){"left", 'f', 2, ALIGNED})) ||
        !(right = hold(held, args[2], (Wanted){"right", 'f', 2, ALIGNED})))
        return 0;
    *turn = (Turn){signs->buf, left->buf, right->buf, (size_t)signs->shape[0], (size_t)signs->shape[1],
                   (size_t)left->shape[0], (size_t)right->shape[0], (size_t)right->shape[1], NULL};
    int fits = dimension == signs->shape[1] && left->shape[1] == left->shape[0] && turn->stride % LANES == 0 &&
               turn->width >= 1 && turn->height >= 1 && turn->stride >= turn->width &&
               turn->stride < turn->width + LANES && turn->dimension <= MOST_COMPONENTS &&
               turn->height <= turn->dimension / turn->width;
    if (!fits)
        refuse("rotate: the arrays do not fit each other");
    return fits;
}

/* Turn one row, of one dimension, or rows, of two; these while other threads run. */
static PyObject *run_rotation(const char *name, PyObject *const *args, Py_ssize_t given, int dimensions,
                              Rotate *rotate_row) {
    Held held = {.count = 0};
    const Py_buffer *rows;
    PyObject *done = NULL;
    Turn turn;
    if (counted(name, given, 4) && (rows = hold(&held, args[3], (Wanted){"rows", 'f', dimensions, WRITABLE})) &&
        hold_turn(&held, args, rows->shape[dimensions - 1], &turn)) {
        if ((turn.scratch = PyMem_RawMalloc(2 * turn.height * turn.stride * sizeof(float)))) {
            Py_ssize_t count = dimensions == 1 ? 1 : rows->shape[0];
            PyThreadState *state = dimensions == 1 ? NULL : PyEval_SaveThread();
            for (Py_ssize_t i = 0; i < count; i++)
                rotate_row(&turn, (float *)rows->buf + (size_t)i * turn.dimension);
            if (state)
                PyEval_RestoreThread(state);
            done = Py_NewRef(Py_None);
        } else
            PyErr_NoMemory();
        PyMem_RawFree(turn.scratch);
    }
    let_go(&held);
    return done;
}

PyObject *rotate(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return run_rotation("rotate", args, given, 1, kernels->rotate);
}

PyObject *rotate_rows(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    return run_rotation("rotate_rows", args, given, 2, fastest_rotation());
}
