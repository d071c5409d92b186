/* The functions that look terms up. */
#include "dictionary.h"
#include "faces.h"

PyObject *find_block(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *separators, *ends, *term;
    PyObject *found = NULL;
    if (counted("find_block", given, 3) && (separators = hold(&held, args[0], (Wanted){"separators", 'B', 1, LOOSE})) &&
        (ends = hold(&held, args[1], (Wanted){"ends", 'B', 1, LOOSE})) &&
        (term = hold(&held, args[2], (Wanted){"term", 'B', 1, LOOSE})))
        found = PyLong_FromLongLong(dictionary_block(separators->buf, (size_t)separators->len, ends->buf,
                                                     (size_t)ends->len / 4, term->buf, (size_t)term->len));
    let_go(&held);
    return found;
}

PyObject *find_term(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    Held held = {.count = 0};
    const Py_buffer *block, *term;
    PyObject *place = NULL;
    Found found;
    if (counted("find_term", given, 2) && (block = hold(&held, args[0], (Wanted){"block", 'B', 1, LOOSE})) &&
        (term = hold(&held, args[1], (Wanted){"term", 'B', 1, LOOSE}))) {
        if (dictionary_find(block->buf, (size_t)block->len, term->buf, (size_t)term->len, &found))
            place = Py_BuildValue("KKK", (unsigned long long)found.frequency, (unsigned long long)found.start,
                                  (unsigned long long)found.end);
        else
            PyErr_SetString(damaged_error, "inconsistent block of a dictionary");
    }
    let_go(&held);
    return place;
}
