/* quiver.format._kernels: lookups in the sorted tables of a column. _kernels.pyi describes the functions. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "arguments.h"

#define EXACT 0x1p53 /* every integer of smaller magnitude is a float64 */

/* ---------------------------------------------------------------- numbers */

/* The float64 that equals a number: 1 when there is one, 0 when there is none, -1 with an error set. */
static int as_double(PyObject *number, double *value) {
    if (PyFloat_Check(number)) {
        *value = PyFloat_AS_DOUBLE(number);
        return 1;
    }
    *value = PyLong_AsDouble(number);
    if (*value == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    if (fabs(*value) < EXACT)
        return 1;
    PyObject *rounded = PyLong_FromDouble(*value);
    int same = rounded ? PyObject_RichCompareBool(rounded, number, Py_EQ) : -1;
    Py_XDECREF(rounded);
    return same;
}

/* An item of a table of float64 or of uint32, each of which is a float64, too. */
static double number_at(const Py_buffer *table, Py_ssize_t index) {
    const char *at = (const char *)table->buf + table->itemsize * index;
    double number;
    uint32_t item;
    if (table->itemsize == sizeof number) {
        memcpy(&number, at, sizeof number);
        return number;
    }
    memcpy(&item, at, sizeof item);
    return item;
}

/* The index of a number in an ascending table, or -1. */
static Py_ssize_t find_number(const Py_buffer *table, double wanted) {
    Py_ssize_t low = 0, high = table->shape[0];
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (number_at(table, middle) < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->shape[0] && number_at(table, low) == wanted ? low : -1;
}

/* Append an index to a list, -1 apart; false with an error set. */
static int append_index(PyObject *indexes, Py_ssize_t index) {
    if (index < 0)
        return 1;
    PyObject *number = PyLong_FromSsize_t(index);
    int done = number && PyList_Append(indexes, number) == 0;
    Py_XDECREF(number);
    return done;
}

static PyObject *find_all_numbers(const Py_buffer *table, PyObject *wanted) {
    PyObject *indexes = PyList_New(0);
    for (Py_ssize_t i = 0; indexes && i < PyTuple_GET_SIZE(wanted); i++) {
        double number;
        int exact = as_double(PyTuple_GET_ITEM(wanted, i), &number);
        if (exact < 0 || !append_index(indexes, exact ? find_number(table, number) : -1))
            Py_CLEAR(indexes);
    }
    return indexes;
}

static PyObject *find_numbers(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *table;
    PyObject *wanted = NULL, *indexes = NULL;
    if (counted("find_numbers", given, 2) && (table = hold(&held, args[0], (Wanted){"table", 'd', 1, LOOSE})) &&
        (wanted = PySequence_Tuple(args[1])))
        indexes = find_all_numbers(table, wanted);
    Py_XDECREF(wanted);
    let_go(&held);
    return indexes;
}

/* ---------------------------------------------------------------- strings */

typedef struct {
    const Py_buffer *offsets, *text;
} Strings;

static Py_ssize_t count_of(const Strings *strings) {
    return strings->offsets->shape[0] > 0 ? strings->offsets->shape[0] - 1 : 0;
}

/* Less than, equal to or greater than 0 as the string at `index` is before, the same as or behind `wanted`; false with
ValueError set when it is not within the text. */
static int compare_string(const Strings *strings, Py_ssize_t index, PyObject *wanted, int *order) {
    uint64_t bounds[2];
    memcpy(bounds, (const char *)strings->offsets->buf + 8 * index, sizeof bounds);
    if (bounds[0] > bounds[1] || bounds[1] > (uint64_t)strings->text->len) {
        PyErr_Format(PyExc_ValueError, "string %zd is bytes %llu to %llu of %zd", index, (unsigned long long)bounds[0],
                     (unsigned long long)bounds[1], strings->text->len);
        return 0;
    }
    size_t length = (size_t)(bounds[1] - bounds[0]), due = (size_t)PyBytes_GET_SIZE(wanted);
    const char *string = (const char *)strings->text->buf + bounds[0];
    *order = memcmp(string, PyBytes_AS_STRING(wanted), length < due ? length : due);
    if (!*order)
        *order = (length > due) - (length < due);
    return 1;
}

/* The index of a string, or -1; -2 with ValueError set. */
static Py_ssize_t find_string(const Strings *strings, PyObject *wanted) {
    Py_ssize_t low = 0, high = count_of(strings);
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        int order;
        if (!compare_string(strings, middle, wanted, &order))
            return -2;
        if (!order)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

static PyObject *find_all_strings(const Strings *strings, PyObject *wanted) {
    PyObject *indexes = PyList_New(0);
    for (Py_ssize_t i = 0; indexes && i < PyTuple_GET_SIZE(wanted); i++) {
        PyObject *string = PyTuple_GET_ITEM(wanted, i);
        if (!PyBytes_Check(string)) {
            PyErr_SetString(PyExc_TypeError, "wanted: one is not bytes");
            Py_CLEAR(indexes);
            break;
        }
        Py_ssize_t index = find_string(strings, string);
        if (index == -2 || !append_index(indexes, index))
            Py_CLEAR(indexes);
    }
    return indexes;
}

static PyObject *find_strings(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Strings strings;
    PyObject *wanted = NULL, *indexes = NULL;
    if (counted("find_strings", given, 3) &&
        (strings.offsets = hold(&held, args[0], (Wanted){"offsets", 'Q', 1, LOOSE})) &&
        (strings.text = hold(&held, args[1], (Wanted){"text", 'B', 1, LOOSE})) && (wanted = PySequence_Tuple(args[2])))
        indexes = find_all_strings(&strings, wanted);
    Py_XDECREF(wanted);
    let_go(&held);
    return indexes;
}

/* ---------------------------------------------------------------- postings */

typedef struct {
    const Py_buffer *offsets, *rows, *frequent;
} Postings;

/* The first of some rows among those posted, and the one after the last. */
typedef struct {
    uint32_t first, end;
} Range;

/* The rows of a value, and its index among all; false with an error set. */
static int posted_rows(const Postings *postings, PyObject *value, Py_ssize_t *index, Range *range) {
    *index = PyLong_AsSsize_t(value);
    if (*index == -1 && PyErr_Occurred())
        return 0;
    if (*index < 0 || *index >= postings->offsets->shape[0] - 1)
        return refuse("postings: no such value") != NULL;
    memcpy(range, (const char *)postings->offsets->buf + sizeof(uint32_t) * (size_t)*index, sizeof *range);
    if (range->first <= range->end && (Py_ssize_t)range->end <= postings->rows->shape[0])
        return 1;
    PyErr_Format(PyExc_ValueError, "rows %u to %u of %zd posted", range->first, range->end, postings->rows->shape[0]);
    return 0;
}

/* How many rows the values have together, with the range of each, and the numbers of the frequent ones; -1 with an
error set. */
static Py_ssize_t find_ranges(const Postings *postings, PyObject *values, Range *ranges, PyObject *numbers) {
    Py_ssize_t total = 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(values); i++) {
        Py_ssize_t index;
        if (!posted_rows(postings, PyTuple_GET_ITEM(values, i), &index, ranges + i) ||
            !append_index(numbers, find_number(postings->frequent, (double)index)))
            return -1;
        total += ranges[i].end - ranges[i].first;
    }
    return total;
}

/* The rows of some ranges, one after the other, `total` in all. */
static PyObject *copy_rows(const Py_buffer *posted, const Range *ranges, Py_ssize_t count, Py_ssize_t total) {
    PyObject *rows = PyBytes_FromStringAndSize(NULL, posted->itemsize * total);
    char *to = rows ? PyBytes_AS_STRING(rows) : NULL;
    for (Py_ssize_t i = 0; rows && i < count; i++) {
        size_t size = (size_t)posted->itemsize * (ranges[i].end - ranges[i].first);
        memcpy(to, (const char *)posted->buf + (size_t)posted->itemsize * ranges[i].first, size);
        to += size;
    }
    return rows;
}

/* Ranges are read once: what says where they are may be a mapped file, whose bytes are not ours. */
static PyObject *take_rows(const Postings *postings, PyObject *values) {
    Py_ssize_t count = PyTuple_GET_SIZE(values);
    Range *ranges = PyMem_Malloc((size_t)count * sizeof *ranges);
    PyObject *numbers = PyList_New(0), *rows = NULL, *taken = NULL;
    if (!ranges)
        PyErr_NoMemory();
    else if (numbers) {
        Py_ssize_t total = find_ranges(postings, values, ranges, numbers);
        rows = total < 0 ? NULL : copy_rows(postings->rows, ranges, count, total);
    }
    if (rows)
        taken = PyTuple_Pack(2, rows, numbers);
    Py_XDECREF(rows);
    Py_XDECREF(numbers);
    PyMem_Free(ranges);
    return taken;
}

static PyObject *rows_posted(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    Postings postings;
    PyObject *values = NULL, *taken = NULL;
    if (counted("rows_posted", given, 4) &&
        (postings.offsets = hold(&held, args[0], (Wanted){"offsets", 'I', 1, LOOSE})) &&
        (postings.rows = hold(&held, args[1], (Wanted){"rows", 'I', 1, LOOSE})) &&
        (postings.frequent = hold(&held, args[2], (Wanted){"frequent", 'I', 1, LOOSE})) &&
        (values = PySequence_Tuple(args[3])))
        taken = take_rows(&postings, values);
    Py_XDECREF(values);
    let_go(&held);
    return taken;
}

/* ---------------------------------------------------------------- module */

static PyMethodDef methods[] = {
    {"find_numbers", _PyCFunction_CAST(find_numbers), METH_FASTCALL, NULL},
    {"find_strings", _PyCFunction_CAST(find_strings), METH_FASTCALL, NULL},
    {"rows_posted", _PyCFunction_CAST(rows_posted), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *Py_UNUSED(module)) {
    return prepare_arguments();
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "quiver.format._kernels", .m_size = 0, .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__kernels(void) {
    return PyModuleDef_Init(&definition);
}
