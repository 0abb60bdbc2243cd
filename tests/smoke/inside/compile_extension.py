"""Compilation and call of a tiny Python extension in /tmp, as an engine does with the launchers of its kernels."""

import importlib.util
import json
import os
import subprocess
import sysconfig
import tempfile
from pathlib import Path

SOURCE = """
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *nothing) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tiny", "", -1, methods};
PyMODINIT_FUNC PyInit_tiny(void) { return PyModule_Create(&module); }
"""


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    (folder / "tiny.c").write_text(SOURCE, encoding="utf-8")
    include = f"-I{sysconfig.get_paths()['include']}"
    extension = folder / "tiny.so"
    subprocess.run(["cc", "-shared", "-fPIC", include, str(folder / "tiny.c"), "-o", str(extension)], check=True)
    subprocess.run(["c++", "-xc++", "-shared", "-fPIC", "-o", str(folder / "cpp.so"), os.devnull], check=True)
    spec = importlib.util.spec_from_file_location("tiny", extension)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(json.dumps({"answer": module.answer()}), flush=True)


if __name__ == "__main__":
    main()
