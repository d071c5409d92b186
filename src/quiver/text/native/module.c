/* quiver.text._kernels: making and searching postings. _kernels.pyi describes the functions. */
#include "faces.h"

PyObject *damaged_error;

static PyMethodDef methods[] = {
    {"split_words", _PyCFunction_CAST(split_words), METH_FASTCALL, NULL},
    {"find_block", _PyCFunction_CAST(find_block), METH_FASTCALL, NULL},
    {"find_term", _PyCFunction_CAST(find_term), METH_FASTCALL, NULL},
    {"overlap", _PyCFunction_CAST(overlap), METH_FASTCALL, NULL},
    {"search", _PyCFunction_CAST(search), METH_FASTCALL, NULL},
    {"score", _PyCFunction_CAST(score), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module) {
    if (prepare_arguments() < 0)
        return -1;
    if (!damaged_error && !(damaged_error = PyErr_NewException("quiver.text._kernels.DamagedError", NULL, NULL)))
        return -1;
    if (PyModule_AddObjectRef(module, "DamagedError", damaged_error) < 0)
        return -1;
    PyObject *type = PyType_FromSpec(&inverter_spec);
    if (!type)
        return -1;
    int added = PyModule_AddObjectRef(module, "Inverter", type);
    Py_DECREF(type);
    return added;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "quiver.text._kernels", .m_size = 0, .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__kernels(void) {
    return PyModuleDef_Init(&definition);
}
