// Takes the place of the stand-in's plugin where UCX is the real one: says its version, and what UCX found of its modules.
#include "nixl.h"

#include <string>
#include <ucp/api/ucp.h>
#include <uct/api/uct.h>

extern "C" const char *nixl_plugin_stand_in()
{
    static std::string found = ucp_get_version_string();
    uct_component_h *components;
    unsigned count;
    if (uct_query_components(&components, &count) != UCS_OK)
        return "no component";
    for (unsigned each = 0; each < count; ++each) {
        uct_component_attr_t component = {};
        component.field_mask = UCT_COMPONENT_ATTR_FIELD_NAME;
        if (uct_component_query(components[each], &component) == UCS_OK)
            found += std::string(" ") + component.name;
    }
    uct_release_component_list(components);
    return found.c_str();
}
