/* The functions of the module `_kernels`; their arguments are described in _kernels.pyi. */
#ifndef QUIVER_FACES_H
#define QUIVER_FACES_H

#include "arguments.h"
#include "kernels.h"

/* The kernels in use. */
extern const Kernels *kernels;

PyObject *rabitq_scan(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *rotate(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *rotate_rows(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *nearest(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *nearest_points(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *sketch_points(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *least(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *least_of(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *distances_at(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *bounds_at(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *distances(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *norms(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *norm(PyObject *module, PyObject *vector);
PyObject *unit(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *squares(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *refine_at(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *sift_at(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *at_hand(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *covered(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *all_marked(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *run_places(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *pick_parts(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *take_notes(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *begin_work(PyObject *module, PyObject *of);
PyObject *end_work(PyObject *module, PyObject *nothing);
PyObject *work_begun(PyObject *module, PyObject *nothing);
PyObject *touched_of(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *touch(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *touch_parts(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *means(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *rabitq_lay_out(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *rabitq_codes(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *byte_rows(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *texts_at(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *strings_at(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *slices_of(PyObject *module, PyObject *const *args, Py_ssize_t given);
PyObject *page_of(PyObject *module, PyObject *const *args, Py_ssize_t given);

#endif
