#include "stand_in.h"

int ucm_stand_in(void)
{
    return 1;
}
