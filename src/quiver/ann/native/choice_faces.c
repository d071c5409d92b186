/* nearest, nearest_points, least and least_of as Python calls them: which of some values are the least. */
#include <math.h>

#include "faces.h"
#include "sketch.h"

/* What is chosen among numbered values. */
typedef struct {
    const float *values;
    size_t count;
    int64_t *numbers;
    size_t limit; /* the room for numbers */
    void *memory;          /* for the entries, and for values where there are none yet; to be freed */
    const uint32_t *names; /* the numbers of the values; NULL where they are numbered in order */
} Choice;

/* Room for the entries of a choice, and for so many bytes behind them; false with an error set. */
static int open_choice(Choice *choice, size_t behind) {
    if ((uint64_t)choice->count > (uint64_t)MOST_ROWS) {
        refuse("nearest: too many values");
        return 0;
    }
    choice->limit = choice->limit < choice->count ? choice->limit : choice->count;
    choice->memory = PyMem_RawMalloc(nearest_bytes(choice->limit) + behind);
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
        found.entries[found.count] = entry_of(choice->values[i], choice->names ? choice->names[i] : (uint32_t)i);
        found.count += choice->values[i] <= most;
    }
    return nearest_take(&found, choice->numbers, NULL);
}

/* A number of an argument; false with an error set. */
static int read_number(PyObject *argument, double *number) {
    *number = PyFloat_AsDouble(argument);
    return *number != -1.0 || !PyErr_Occurred();
}

static void close_choice(Held *held, Choice *choice) {
    PyMem_RawFree(choice->memory);
    let_go(held);
}

PyObject *nearest(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *ranks, *numbers;
    Choice choice = {0};
    double margin;
    Py_ssize_t found = -1;
    if (counted("nearest", given, 3) && (ranks = hold(&held, args[0], (Wanted){"ranks", 'f', 1, ALIGNED})) &&
        (numbers = hold(&held, args[2], (Wanted){"numbers", 'q', 1, WRITABLE})) && read_number(args[1], &margin)) {
        choice = (Choice){ranks->buf, (size_t)ranks->shape[0], numbers->buf, (size_t)numbers->shape[0], NULL, NULL};
        if (open_choice(&choice, 0))
            found = (Py_ssize_t)choose_nearest(&choice, least_value(&choice) + (float)margin);
    }
    close_choice(&held, &choice);
    return found < 0 ? NULL : PyLong_FromSsize_t(found);
}

/* Arguments of nearest_points, and the choice among the points that may be near enough. */
typedef struct {
    Sketch sketch;
    const float *query;
    double margin, usual, least;
    Choice choice;
} Search;

/* Whether the arrays fit each other: levels and what is known of the points, or neither. */
static int fit_sketch(Sketch *sketch, const Py_buffer *points, const Py_buffer *levels, const Py_buffer *known) {
    size_t count = (size_t)points->shape[0], dimension = (size_t)points->shape[1];
    *sketch = (Sketch){points->buf, NULL, NULL, count, dimension, sketch_width(dimension)};
    if (dimension < 1 || dimension > MOST_COMPONENTS)
        return 0;
    if (!levels)
        return 1;
    sketch->levels = levels->buf;
    sketch->known = known->buf;
    return (size_t)levels->shape[0] == count && (size_t)levels->shape[1] == sketch->width &&
           (size_t)known->shape[0] == count && known->shape[1] == sizeof(Sketched) / sizeof(double);
}

/* The points to look at; their squared distances, in `values`. */
static void look_at_points(Search *search, uint32_t *names, float *values, void *spare) {
    const Sketch *sketch = &search->sketch;
    Choice *choice = &search->choice;
    choice->values = values;
    if (!sketch->levels) {
        kernels->squares(search->query, sketch->points, sketch->count, sketch->dimension, values);
        return;
    }
    choice->names = names;
    choice->count = sketch_candidates(sketch, search->query, search->margin, search->usual, spare, names);
    for (size_t i = 0; i < choice->count; i++)
        kernels->squares(search->query, sketch->points + names[i] * sketch->dimension, 1, sketch->dimension, values + i);
}

/* The nearest points; how many, or -1 with an error set. */
static Py_ssize_t search_points(Search *search) {
    Choice *choice = &search->choice;
    size_t count = search->sketch.count, found;
    if (!open_choice(choice, (sizeof(float) + sizeof(uint32_t)) * count + sketch_bytes(&search->sketch)))
        return -1;
    char *behind = (char *)choice->memory + nearest_bytes(choice->limit);
    uint32_t *names = (uint32_t *)(behind + sketch_bytes(&search->sketch)); /* after what has larger numbers */
    Py_BEGIN_ALLOW_THREADS
    look_at_points(search, names, (float *)(names + count), behind);
    search->least = least_value(choice);
    found = choose_nearest(choice, (float)(search->least + (float)grown(search->margin, search->least, search->usual)));
    Py_END_ALLOW_THREADS
    return (Py_ssize_t)found;
}

PyObject *nearest_points(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *query, *points, *numbers, *levels = NULL, *known = NULL;
    Search search = {.least = INFINITY};
    Py_ssize_t found = -1;
    if (counted("nearest_points", given, 7) && (query = hold(&held, args[0], (Wanted){"query", 'f', 1, ALIGNED})) &&
        (points = hold(&held, args[1], (Wanted){"points", 'f', 2, ALIGNED})) &&
        (args[5] == Py_None || ((levels = hold(&held, args[5], (Wanted){"levels", 'B', 2, LOOSE})) &&
                                (known = hold(&held, args[6], (Wanted){"known", 'd', 2, ALIGNED})))) &&
        (numbers = hold(&held, args[4], (Wanted){"numbers", 'q', 1, WRITABLE})) &&
        read_number(args[2], &search.margin) && read_number(args[3], &search.usual)) {
        search.query = query->buf;
        search.choice = (Choice){NULL, (size_t)points->shape[0], numbers->buf, (size_t)numbers->shape[0], NULL, NULL};
        if (query->shape[0] != points->shape[1] || !fit_sketch(&search.sketch, points, levels, known))
            refuse("nearest: the arrays do not fit each other");
        else
            found = search_points(&search);
    }
    close_choice(&held, &search.choice);
    return found < 0 ? NULL : Py_BuildValue("nd", found, search.least);
}

PyObject *sketch_points(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *points, *levels, *known;
    int done = -1;
    if (counted("sketch_points", given, 3) && (points = hold(&held, args[0], (Wanted){"points", 'f', 2, ALIGNED})) &&
        (levels = hold(&held, args[1], (Wanted){"levels", 'B', 2, WRITABLE})) &&
        (known = hold(&held, args[2], (Wanted){"known", 'd', 2, WRITABLE}))) {
        Sketch sketch;
        if (!fit_sketch(&sketch, points, levels, known))
            refuse("sketch: the arrays do not fit each other");
        else {
            Py_BEGIN_ALLOW_THREADS
            done = 1;
            for (size_t i = 0; done && i < sketch.count; i++)
                done = sketch_point(sketch.points + i * sketch.dimension, sketch.dimension,
                                    (int8_t *)levels->buf + i * sketch.width, (Sketched *)known->buf + i);
            Py_END_ALLOW_THREADS
        }
    }
    let_go(&held);
    return done < 0 ? NULL : PyBool_FromLong(done);
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

/* Sort the first `count` numbers of a choice by their values; whether any two are equal, or -1 with an error set. */
static int sort_chosen(const Choice *choice, size_t count) {
    void *memory = PyMem_RawMalloc(nearest_bytes(count));
    if (!memory) {
        PyErr_NoMemory();
        return -1;
    }
    Nearest all = nearest_in(memory, count);
    for (; all.count < count; all.count++) {
        uint32_t number = (uint32_t)choice->numbers[all.count];
        all.entries[all.count] = entry_of(choice->values[number], number);
    }
    nearest_take(&all, choice->numbers, NULL);
    PyMem_RawFree(memory);
    for (size_t i = 1; i < count; i++)
        if (choice->values[choice->numbers[i - 1]] == choice->values[choice->numbers[i]])
            return 1;
    return 0;
}

PyObject *least(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *values, *numbers;
    Choice choice = {0};
    double floor;
    size_t count = 0;
    int equal = -1;
    if (counted("least", given, 4) && (values = hold(&held, args[0], (Wanted){"values", 'f', 1, ALIGNED})) &&
        (numbers = hold(&held, args[3], (Wanted){"numbers", 'q', 1, WRITABLE})) && read_number(args[1], &floor)) {
        Py_ssize_t wanted = PyLong_AsSsize_t(args[2]);
        choice = (Choice){values->buf, (size_t)values->shape[0], numbers->buf, (size_t)wanted, NULL, NULL};
        if (!PyErr_Occurred() && (wanted < 0 || numbers->shape[0] != values->shape[0]))
            refuse("least: the arrays do not fit each other");
        if (!PyErr_Occurred() && open_choice(&choice, 0)) {
            count = choose_least(&choice, (float)floor);
            equal = sort_chosen(&choice, count);
        }
    }
    close_choice(&held, &choice);
    return equal < 0 ? NULL : Py_BuildValue("nO", (Py_ssize_t)count, equal ? Py_True : Py_False);
}

PyObject *least_of(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *values;
    Choice choice = {0};
    PyObject *found = NULL;
    if (counted("least_of", given, 2) && (values = hold(&held, args[0], (Wanted){"values", 'f', 1, ALIGNED}))) {
        Py_ssize_t wanted = PyLong_AsSsize_t(args[1]);
        choice = (Choice){values->buf, (size_t)values->shape[0], NULL, (size_t)wanted, NULL, NULL};
        if (!PyErr_Occurred() && (wanted < 1 || wanted > values->shape[0]))
            refuse("least_of: there are not so many values");
        if (!PyErr_Occurred() && open_choice(&choice, 0))
            found = PyFloat_FromDouble(nearest_last(choice.values, choice.count, choice.limit, choice.memory));
    }
    close_choice(&held, &choice);
    return found;
}
