#include "stand_in.h"

int stand_in_module(void)
{
    return 1;
}
