/* quiver.ann._kernels: the hot part of a query. _kernels.pyi describes the functions. */
#include <string.h>

#include "faces.h"

const Kernels *kernels;

static PyObject *use_variant(PyObject *Py_UNUSED(module), PyObject *name) {
    const char *text = PyUnicode_AsUTF8(name);
    if (!text)
        return NULL;
    for (int i = 0; i < variants_here(); i++)
        if (!strcmp(every_variant[i]->name, text)) {
            kernels = every_variant[i];
            Py_RETURN_NONE;
        }
    return refuse("no such variant on this processor");
}

static PyMethodDef methods[] = {
    {"rabitq_scan", _PyCFunction_CAST(rabitq_scan), METH_FASTCALL, NULL},
    {"rotate", _PyCFunction_CAST(rotate), METH_FASTCALL, NULL},
    {"rotate_rows", _PyCFunction_CAST(rotate_rows), METH_FASTCALL, NULL},
    {"nearest", _PyCFunction_CAST(nearest), METH_FASTCALL, NULL},
    {"nearest_points", _PyCFunction_CAST(nearest_points), METH_FASTCALL, NULL},
    {"sketch_points", _PyCFunction_CAST(sketch_points), METH_FASTCALL, NULL},
    {"least", _PyCFunction_CAST(least), METH_FASTCALL, NULL},
    {"least_of", _PyCFunction_CAST(least_of), METH_FASTCALL, NULL},
    {"distances_at", _PyCFunction_CAST(distances_at), METH_FASTCALL, NULL},
    {"bounds_at", _PyCFunction_CAST(bounds_at), METH_FASTCALL, NULL},
    {"distances", _PyCFunction_CAST(distances), METH_FASTCALL, NULL},
    {"norms", _PyCFunction_CAST(norms), METH_FASTCALL, NULL},
    {"norm", norm, METH_O, NULL},
    {"unit", _PyCFunction_CAST(unit), METH_FASTCALL, NULL},
    {"squares", _PyCFunction_CAST(squares), METH_FASTCALL, NULL},
    {"refine_at", _PyCFunction_CAST(refine_at), METH_FASTCALL, NULL},
    {"sift_at", _PyCFunction_CAST(sift_at), METH_FASTCALL, NULL},
    {"at_hand", _PyCFunction_CAST(at_hand), METH_FASTCALL, NULL},
    {"covered", _PyCFunction_CAST(covered), METH_FASTCALL, NULL},
    {"all_marked", _PyCFunction_CAST(all_marked), METH_FASTCALL, NULL},
    {"run_places", _PyCFunction_CAST(run_places), METH_FASTCALL, NULL},
    {"pick_parts", _PyCFunction_CAST(pick_parts), METH_FASTCALL, NULL},
    {"take_notes", _PyCFunction_CAST(take_notes), METH_FASTCALL, NULL},
    {"begin_work", begin_work, METH_O, NULL},
    {"end_work", end_work, METH_NOARGS, NULL},
    {"work_begun", work_begun, METH_NOARGS, NULL},
    {"touched_of", _PyCFunction_CAST(touched_of), METH_FASTCALL, NULL},
    {"touch", _PyCFunction_CAST(touch), METH_FASTCALL, NULL},
    {"touch_parts", _PyCFunction_CAST(touch_parts), METH_FASTCALL, NULL},
    {"means", _PyCFunction_CAST(means), METH_FASTCALL, NULL},
    {"rabitq_lay_out", _PyCFunction_CAST(rabitq_lay_out), METH_FASTCALL, NULL},
    {"rabitq_codes", _PyCFunction_CAST(rabitq_codes), METH_FASTCALL, NULL},
    {"byte_rows", _PyCFunction_CAST(byte_rows), METH_FASTCALL, NULL},
    {"texts_at", _PyCFunction_CAST(texts_at), METH_FASTCALL, NULL},
    {"strings_at", _PyCFunction_CAST(strings_at), METH_FASTCALL, NULL},
    {"slices_of", _PyCFunction_CAST(slices_of), METH_FASTCALL, NULL},
    {"page_of", _PyCFunction_CAST(page_of), METH_FASTCALL, NULL},
    {"use_variant", use_variant, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module) {
    if (prepare_arguments() < 0)
        return -1;
    int count = variants_here();
    PyObject *names = PyTuple_New(count);
    if (!names)
        return -1;
    for (int i = 0; i < count; i++) {
        PyObject *name = PyUnicode_FromString(every_variant[i]->name);
        if (!name) {
            Py_DECREF(names);
            return -1;
        }
        PyTuple_SET_ITEM(names, i, name);
    }
    kernels = every_variant[count - 1];
    if (PyModule_AddObject(module, "VARIANTS", names) < 0) {
        Py_DECREF(names);
        return -1;
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "quiver.ann._kernels", .m_size = 0, .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__kernels(void) {
    return PyModuleDef_Init(&definition);
}
