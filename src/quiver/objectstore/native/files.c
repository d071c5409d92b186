/* quiver.objectstore._files: what every strong read of a local root asks of files. _files.pyi describes the functions. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE 512 /* bytes compared at once */

static int is_missing(int error) {
    return error == ENOENT || error == ENOTDIR;
}

/* A path as the system takes it; NULL with an error set. */
static PyObject *path_of(PyObject *name) {
    PyObject *path = NULL;
    return PyUnicode_FSConverter(name, &path) ? path : NULL;
}

/* The answer of one of the functions; an error where that is negative. */
static PyObject *answer(int found, int error, PyObject *name) {
    if (found >= 0)
        return PyBool_FromLong(found);
    errno = error;
    return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, name);
}

static PyObject *is_absent(PyObject *Py_UNUSED(module), PyObject *name) {
    PyObject *path = path_of(name);
    if (!path)
        return NULL;
    struct stat status;
    int found, error;
    Py_BEGIN_ALLOW_THREADS
    found = !lstat(PyBytes_AS_STRING(path), &status);
    error = found ? 0 : errno;
    Py_END_ALLOW_THREADS
    Py_DECREF(path);
    return answer(found ? 0 : is_missing(error) ? 1 : -1, error, name);
}

/* Whether an open file begins with some bytes; -1 with errno set. */
static int compare(int fd, const char *head, size_t size) {
    char piece[PIECE];
    for (size_t done = 0; done < size;) {
        size_t due = size - done < PIECE ? size - done : PIECE;
        ssize_t count = pread(fd, piece, due, (off_t)done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -1;
        if (count == 0 || memcmp(piece, head + done, (size_t)count))
            return 0;
        done += (size_t)count;
    }
    return 1;
}

/* The same of a file by its name. A directory cannot be read, and begins with nothing. */
static int compare_named(const char *path, const char *head, size_t size) {
    int fd;
    do
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return is_missing(errno) ? 0 : -1;
    int found = compare(fd, head, size), error = errno;
    close(fd); /* nothing was written that this could fail to write */
    errno = error;
    return found < 0 && error == EISDIR ? 0 : found;
}

static PyObject *begins_with(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t given) {
    if (given != 2) {
        PyErr_Format(PyExc_TypeError, "begins_with() takes 2 arguments, %zd were given", given);
        return NULL;
    }
    PyObject *path = path_of(args[0]);
    Py_buffer head;
    if (!path)
        return NULL;
    if (PyObject_GetBuffer(args[1], &head, PyBUF_SIMPLE) < 0) {
        Py_DECREF(path);
        return NULL;
    }
    int found, error;
    Py_BEGIN_ALLOW_THREADS
    found = compare_named(PyBytes_AS_STRING(path), head.buf, (size_t)head.len);
    error = errno;
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&head);
    Py_DECREF(path);
    return answer(found, error, args[0]);
}

static PyMethodDef methods[] = {
    {"is_absent", is_absent, METH_O, NULL},
    {"begins_with", _PyCFunction_CAST(begins_with), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "quiver.objectstore._files", .m_size = 0, .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__files(void) {
    return PyModuleDef_Init(&definition);
}
