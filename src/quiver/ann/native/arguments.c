/* Arrays that Python hands over: held, and checked for their type, shape and layout. */
#include "arguments.h"

#include <string.h>

/* The oldest NumPy of pyproject.toml. */
#define NPY_TARGET_VERSION NPY_2_1_API_VERSION
#define NPY_NO_DEPRECATED_API NPY_2_1_API_VERSION
#include <numpy/arrayobject.h>

int prepare_arguments(void) {
    return _import_array();
}

static Py_ssize_t size_of(char type) {
    return type == 'q' || type == 'Q' || type == 'd' ? 8 : type == 'f' || type == 'I' ? 4 : 1;
}

/* Little-endian is the only order there is, so that prefixes of order and alignment say nothing. */
static int is_of_type(const Py_buffer *view, char type) {
    const char *format = view->format ? view->format : "B";
    if (*format && strchr("@=<^|", *format))
        format++;
    if (!*format || format[1] || view->itemsize != size_of(type))
        return 0;
    return *format == type || (type == 'q' && *format == 'l') || (type == 'Q' && *format == 'L');
}

/* Its address marks a view of an array that was not asked for a buffer. */
static char no_buffer;

/* The kind of an array's numbers, as NumPy names it. */
static char kind_of(char type) {
    return type == 'f' || type == 'd' ? 'f' : type == 'q' ? 'i' : type == '?' ? 'b' : 'u';
}

/* Hold a NumPy array that is as wanted, else do nothing. A third of what its buffer costs, and a query has fifty. */
static int hold_array(Held *held, PyObject *object, Wanted wanted) {
    if (!PyArray_CheckExact(object))
        return 0;
    PyArrayObject *array = (PyArrayObject *)object;
    const PyArray_Descr *type = PyArray_DESCR(array);
    int due = NPY_ARRAY_C_CONTIGUOUS | (wanted.use == WRITABLE ? NPY_ARRAY_WRITEABLE : 0);
    Py_ssize_t size = size_of(wanted.type);
    if ((PyArray_FLAGS(array) & due) != due || PyArray_NDIM(array) != wanted.dimensions ||
        type->kind != kind_of(wanted.type) || PyArray_ITEMSIZE(array) != size || !PyArray_ISNBO(type->byteorder) ||
        (wanted.use != LOOSE && (uintptr_t)PyArray_DATA(array) % (size_t)size))
        return 0;
    Py_ssize_t *shape = held->shapes[held->count];
    memcpy(shape, PyArray_DIMS(array), (size_t)wanted.dimensions * sizeof *shape);
    held->views[held->count++] = (Py_buffer){.obj = Py_NewRef(object), .buf = PyArray_DATA(array),
                                             .len = PyArray_NBYTES(array), .itemsize = size,
                                             .ndim = wanted.dimensions, .shape = shape, .internal = &no_buffer};
    return 1;
}

const Py_buffer *hold(Held *held, PyObject *object, Wanted wanted) {
    Py_buffer *view = held->views + held->count;
    if (hold_array(held, object, wanted))
        return view;
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (wanted.use == WRITABLE ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError) && !PyErr_ExceptionMatches(PyExc_ValueError))
            return NULL; /* TypeError: not an array at all */
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s: not a contiguous%s array", wanted.name,
                     wanted.use == WRITABLE ? " and writable" : "");
        return NULL;
    }
    held->count++;
    int placed = wanted.use == LOOSE || (uintptr_t)view->buf % (size_t)size_of(wanted.type) == 0;
    if (view->ndim == wanted.dimensions && is_of_type(view, wanted.type) && placed)
        return view;
    PyErr_Format(PyExc_ValueError, "%s: an aligned array of %d dimensions and type %c is due", wanted.name,
                 wanted.dimensions, wanted.type);
    return NULL;
}

void let_go(Held *held) {
    while (held->count) {
        Py_buffer *view = held->views + --held->count;
        if (view->internal == &no_buffer)
            Py_DECREF(view->obj);
        else
            PyBuffer_Release(view);
    }
}

int counted(const char *function, Py_ssize_t given, Py_ssize_t due) {
    if (given == due)
        return 1;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, %zd were given", function, due, given);
    return 0;
}

PyObject *refuse(const char *why) {
    PyErr_SetString(PyExc_ValueError, why);
    return NULL;
}
