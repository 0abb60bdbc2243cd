#include "nixl.h"

#include <ucp/api/ucp.h>

extern "C" const char *nixl_plugin_stand_in()
{
    return ucp_stand_in_transports();
}
