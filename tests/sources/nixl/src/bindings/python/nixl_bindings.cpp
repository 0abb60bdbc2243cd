#include "nixl.h"

#include <pybind11/pybind11.h>

PYBIND11_MODULE(_bindings, module)
{
    module.def("say", [](const std::string &plugin) { return std::string(nixl_stand_in(plugin.c_str())); });
}
