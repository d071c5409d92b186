/* The functions and the type of the module `_kernels`; _kernels.pyi describes them. */
#ifndef QUIVER_TEXT_FACES_H
#define QUIVER_TEXT_FACES_H

#include "arguments.h"

#define MOST_ROWS (INT32_MAX - 1)

/* Raised for stored bytes that are inconsistent. */
extern PyObject *damaged_error;

PyObject *split_words(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *find_block(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *find_term(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *overlap(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *search(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *score(PyObject *module, PyObject *const *args, Py_ssize_t given);

extern PyType_Spec inverter_spec;

#endif
