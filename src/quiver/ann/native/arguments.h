/* Arrays that Python hands over: held, and checked for their type, shape and layout. */
#ifndef QUIVER_ARGUMENTS_H
#define QUIVER_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>

#define MOST_HELD 12
#define MOST_DIMENSIONS 2

/* What an array has to be. */
typedef struct {
    const char *name;
    char type; /* f: float32, d: float64, q: int64, Q: uint64, I: uint32, B: uint8, ?: bool */
    int dimensions;
    enum { LOOSE, ALIGNED, WRITABLE } use; /* read at any address, read as numbers in place, or written */
} Wanted;

typedef struct {
    Py_buffer views[MOST_HELD];
    Py_ssize_t shapes[MOST_HELD][MOST_DIMENSIONS];
    int count;
} Held;

/* Before anything else, by each module; -1 with an error set. */
int prepare_arguments(void);

/* The view of an array that is as wanted, C-contiguous; NULL with ValueError or TypeError set. */
const Py_buffer *hold(Held *held, PyObject *object, Wanted wanted);

void let_go(Held *held);

/* Whether `given` arguments are as many as are due; else TypeError is set. */
int counted(const char *function, Py_ssize_t given, Py_ssize_t due);

/* Raises ValueError; NULL. */
PyObject *refuse(const char *why);

#endif
