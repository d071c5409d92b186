/* The type Inverter. */
#include "faces.h"
#include "inverter.h"

typedef struct {
    PyObject_HEAD
    Inverter inverter;
    int finished;
} InverterObject;

static int add_terms(Inverter *inverter, PyObject *terms, uint32_t row) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(terms); i++) {
        PyObject *term = PySequence_Fast_GET_ITEM(terms, i);
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(term, &size);
        Py_hash_t hash = text ? PyObject_Hash(term) : -1;
        if (hash == -1)
            return 0;
        if (!size || size > MOST_TERM) {
            refuse("a term is empty or too long");
            return 0;
        }
        if (!inverter_term(inverter, text, (size_t)size, (uint32_t)hash, row)) {
            PyErr_NoMemory();
            return 0;
        }
    }
    return 1;
}

static PyObject *add_row(InverterObject *self, Py_ssize_t row, PyObject *terms) {
    Inverter *inverter = &self->inverter;
    if (self->finished || row < 0 || (size_t)row < inverter->rows || row >= MOST_ROWS)
        return refuse("rows have to ascend, and to come before the end");
    if (!inverter_row(inverter, (size_t)row, (size_t)PySequence_Fast_GET_SIZE(terms)))
        return PyErr_NoMemory();
    if (!add_terms(inverter, terms, (uint32_t)row))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *inverter_add(PyObject *self, PyObject *const *args, Py_ssize_t given) {
    PyObject *added = NULL, *terms;
    if (!counted("add", given, 2) || !(terms = PySequence_Fast(args[1], "terms: a sequence is due")))
        return NULL;
    Py_ssize_t row = PyLong_AsSsize_t(args[0]);
    if (row != -1 || !PyErr_Occurred())
        added = add_row((InverterObject *)self, row, terms);
    Py_DECREF(terms);
    return added;
}

static void copy_part(uint8_t **place, const Bytes *part) {
    if (part->count)
        memcpy(*place, part->bytes, part->count);
    *place += part->count;
}

/* The body of the postings, copied without the GIL. */
static PyObject *body_of(const Inverted *inverted) {
    size_t size = inverted->lists.count + inverted->lengths.count + inverted->dictionary.count;
    PyObject *body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (!body)
        return NULL;
    uint8_t *place = (uint8_t *)PyBytes_AS_STRING(body);
    Py_BEGIN_ALLOW_THREADS
    copy_part(&place, &inverted->lists);
    copy_part(&place, &inverted->lengths);
    copy_part(&place, &inverted->dictionary);
    Py_END_ALLOW_THREADS
    return body;
}

static PyObject *as_bytes(const Bytes *part) {
    return PyBytes_FromStringAndSize((const char *)part->bytes, (Py_ssize_t)part->count);
}

static PyObject *described(uint64_t documents, uint64_t tokens, const Inverted *inverted) {
    PyObject *body = body_of(inverted);
    if (!body)
        return NULL;
    return Py_BuildValue("KKnnNNNN", (unsigned long long)documents, (unsigned long long)tokens,
                         (Py_ssize_t)inverted->lists.count, (Py_ssize_t)inverted->lengths.count, body,
                         as_bytes(&inverted->block_ends), as_bytes(&inverted->separator_ends),
                         as_bytes(&inverted->separators));
}

static PyObject *inverter_end(PyObject *object, PyObject *count) {
    InverterObject *self = (InverterObject *)object;
    Py_ssize_t rows = PyLong_AsSsize_t(count);
    Inverted inverted = {.width = 1};
    PyObject *description = NULL;
    int fine;
    if (rows == -1 && PyErr_Occurred())
        return NULL;
    if (self->finished || rows < (Py_ssize_t)self->inverter.rows || rows > MOST_ROWS)
        return refuse("fewer rows than were added, too many, or finished before");
    self->finished = 1; /* so that no thread adds meanwhile */
    uint64_t documents = self->inverter.documents, tokens = self->inverter.tokens;
    Py_BEGIN_ALLOW_THREADS
    fine = inverter_finish(&self->inverter, (size_t)rows, &inverted);
    inverter_free(&self->inverter);
    Py_END_ALLOW_THREADS
    description = fine ? described(documents, tokens, &inverted) : PyErr_NoMemory();
    inverted_free(&inverted);
    return description;
}

static void inverter_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    inverter_free(&((InverterObject *)self)->inverter);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef inverter_methods[] = {
    {"add", _PyCFunction_CAST(inverter_add), METH_FASTCALL, NULL},
    {"finish", inverter_end, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot inverter_slots[] = {
    {Py_tp_dealloc, inverter_dealloc}, {Py_tp_methods, inverter_methods}, {Py_tp_new, PyType_GenericNew}, {0, NULL}};

PyType_Spec inverter_spec = {
    .name = "quiver.text._kernels.Inverter",
    .basicsize = sizeof(InverterObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = inverter_slots,
};
