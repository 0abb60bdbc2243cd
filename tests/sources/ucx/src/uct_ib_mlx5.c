#include "stand_in.h"

extern int uct_ib_count;

__attribute__((constructor)) static void loaded(void)
{
    ucs_add_module(uct_ib_count == 1 ? "mlx5" : "a-second-ib");
}
