#include "stand_in.h"

#include <cuda.h>
#include <nvml.h>

__attribute__((constructor)) static void loaded(void)
{
    ucs_add_module(cuInit(0) == CUDA_SUCCESS && nvmlInit_v2() == NVML_SUCCESS ? "cuda" : "no-cuda");
}
