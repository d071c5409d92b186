/* Arrays that Python hands over: held, and checked for their type, shape and layout. */
#include "arguments.h"

#include <string.h>

static Py_ssize_t size_of(char type) {
    return type == 'q' || type == 'Q' || type == 'd' ? 8 : type == 'f' ? 4 : 1;
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

const Py_buffer *hold(Held *held, PyObject *object, Wanted wanted) {
    Py_buffer *view = held->views + held->count;
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
    while (held->count)
        PyBuffer_Release(held->views + --held->count);
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
