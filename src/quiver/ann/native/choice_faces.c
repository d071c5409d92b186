/* nearest, nearest_points, least and least_of as Python calls them: which of some values are the least. */
#include <math.h>

#include "faces.h"

/* What is chosen among numbered values. */
typedef struct {
    const float *values;
    size_t count;
    int64_t *numbers;
    size_t limit; /* the room for numbers */
    void *memory; /* for the entries, and for values where there are none yet; to be freed */
} Choice;

/* Room for the entries of a choice, and for so many values behind them; false with an error set. */
static int open_choice(Choice *choice, size_t values) {
    if ((uint64_t)choice->count > (uint64_t)MOST_ROWS) {
        refuse("nearest: too many values");
        return 0;
    }
    choice->limit = choice->limit < choice->count ? choice->limit : choice->count;
    choice->memory = PyMem_RawMalloc(nearest_bytes(choice->limit) + values * sizeof(float));
    if (!choice->memory)
        PyErr_NoMemory();
    return choice->memory != NULL;
}

static float least_value(const Choice *choice) {
    float least = INFINITY;
    for (size_t i = 0; i < choice->count; i++)
        least = choice->values[i] < least ? choice->values[i] : least;
    return least;
}

/* Of the values up to `most`, the first; how many they are. */
static size_t choose_nearest(const Choice *choice, float most) {
    Nearest found = nearest_in(choice->memory, choice->limit);
    for (size_t i = 0; i < choice->count; i++) {
        nearest_ready(&found);
        found.entries[found.count] = entry_of(choice->values[i], (uint32_t)i);
        found.count += choice->values[i] <= most;
    }
    return nearest_take(&found, choice->numbers, NULL);
}

/* A number of an argument; false with an error set. */
static int read_number(PyObject *argument, double *number) {
    *number = PyFloat_AsDouble(argument);
    return *number != -1.0 || !PyErr_Occurred();
}

static PyObject *finish_choice(Held *held, Choice *choice, Py_ssize_t found) {
    PyMem_RawFree(choice->memory);
    let_go(held);
    return found < 0 ? NULL : PyLong_FromSsize_t(found);
}

PyObject *nearest(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *ranks, *numbers;
    Choice choice = {0};
    double margin;
    Py_ssize_t found = -1;
    if (counted("nearest", given, 3) && (ranks = hold(&held, args[0], (Wanted){"ranks", 'f', 1, ALIGNED})) &&
        (numbers = hold(&held, args[2], (Wanted){"numbers", 'q', 1, WRITABLE})) && read_number(args[1], &margin)) {
        choice = (Choice){ranks->buf, (size_t)ranks->shape[0], numbers->buf, (size_t)numbers->shape[0], NULL};
        if (open_choice(&choice, 0))
            found = (Py_ssize_t)choose_nearest(&choice, least_value(&choice) + (float)margin);
    }
    return finish_choice(&held, &choice, found);
}

/* A margin that grows with the distance, whose square this is, from the usual one on; as it is where that is 0. */
static double grown(double margin, double square, double usual) {
    double away = sqrt(square);
    return usual > 0 && away > usual && away < INFINITY ? margin * (away / usual) : margin;
}

PyObject *nearest_points(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *query, *points, *numbers;
    Choice choice = {0};
    double margin, usual, least = INFINITY;
    Py_ssize_t found = -1;
    if (counted("nearest_points", given, 5) && (query = hold(&held, args[0], (Wanted){"query", 'f', 1, ALIGNED})) &&
        (points = hold(&held, args[1], (Wanted){"points", 'f', 2, ALIGNED})) &&
        (numbers = hold(&held, args[4], (Wanted){"numbers", 'q', 1, WRITABLE})) && read_number(args[2], &margin) &&
        read_number(args[3], &usual)) {
        choice = (Choice){NULL, (size_t)points->shape[0], numbers->buf, (size_t)numbers->shape[0], NULL};
        if (points->shape[1] != query->shape[0])
            refuse("nearest: the arrays do not fit each other");
        else if (open_choice(&choice, choice.count)) {
            float *values = (float *)((char *)choice.memory + nearest_bytes(choice.limit));
            choice.values = values;
            Py_BEGIN_ALLOW_THREADS
            kernels->squares(query->buf, points->buf, choice.count, (size_t)query->shape[0], values);
            least = least_value(&choice);
            found = (Py_ssize_t)choose_nearest(&choice, (float)(least + (float)grown(margin, least, usual)));
            Py_END_ALLOW_THREADS
        }
    }
    PyMem_RawFree(choice.memory);
    let_go(&held);
    return found < 0 ? NULL : Py_BuildValue("nd", found, least);
}

/* Of the values that are not below `floor`, those not above the last of the `wanted` least, as they come. */
static size_t choose_least(const Choice *choice, float floor) {
    Nearest found = nearest_in(choice->memory, choice->limit);
    for (size_t i = 0; i < choice->count; i++) {
        nearest_ready(&found);
        found.entries[found.count] = entry_of(choice->values[i], (uint32_t)i);
        found.count += choice->values[i] >= floor;
    }
    nearest_shrink(&found);
    size_t count = 0;
    for (size_t i = 0; i < choice->count; i++) {
        choice->numbers[count] = (int64_t)i;
        count += (choice->values[i] >= floor) & (choice->values[i] <= found.worst);
    }
    return count;
}

PyObject *least(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *values, *numbers;
    Choice choice = {0};
    double floor;
    Py_ssize_t found = -1;
    if (counted("least", given, 4) && (values = hold(&held, args[0], (Wanted){"values", 'f', 1, ALIGNED})) &&
        (numbers = hold(&held, args[3], (Wanted){"numbers", 'q', 1, WRITABLE})) && read_number(args[1], &floor)) {
        Py_ssize_t wanted = PyLong_AsSsize_t(args[2]);
        choice = (Choice){values->buf, (size_t)values->shape[0], numbers->buf, (size_t)wanted, NULL};
        if (!PyErr_Occurred() && (wanted < 0 || numbers->shape[0] != values->shape[0]))
            refuse("least: the arrays do not fit each other");
        if (!PyErr_Occurred() && open_choice(&choice, 0))
            found = (Py_ssize_t)choose_least(&choice, (float)floor);
    }
    return finish_choice(&held, &choice, found);
}

PyObject *least_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *values;
    Choice choice = {0};
    PyObject *found = NULL;
    if (counted("least_of", given, 2) && (values = hold(&held, args[0], (Wanted){"values", 'f', 1, ALIGNED}))) {
        Py_ssize_t wanted = PyLong_AsSsize_t(args[1]);
        choice = (Choice){values->buf, (size_t)values->shape[0], NULL, (size_t)wanted, NULL};
        if (!PyErr_Occurred() && (wanted < 1 || wanted > values->shape[0]))
            refuse("least_of: there are not so many values");
        if (!PyErr_Occurred() && open_choice(&choice, 0)) {
            Nearest kept = nearest_in(choice.memory, choice.limit);
            for (size_t i = 0; i < choice.count; i++) {
                nearest_ready(&kept);
                kept.entries[kept.count++] = entry_of(choice.values[i], (uint32_t)i);
            }
            nearest_shrink(&kept);
            uint64_t last = 0;
            for (size_t i = 0; i < kept.count; i++)
                last = kept.entries[i] > last ? kept.entries[i] : last;
            found = PyFloat_FromDouble(entry_score(last));
        }
    }
    PyMem_RawFree(choice.memory);
    let_go(&held);
    return found;
}
