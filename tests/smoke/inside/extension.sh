#!/bin/sh
# Builds the Python extension `made` in the working directory, as a build backend would call the compiler.
set -eu
cat >made.c <<EOF
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "made", NULL, -1, methods};
PyMODINIT_FUNC PyInit_made(void) { return PyModule_Create(&module); }
EOF
include=$(python -c 'import sysconfig; print(sysconfig.get_path("include"))')
gcc -shared -fPIC "-I$include" -o "made$(python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')" made.c
