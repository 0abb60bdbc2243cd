#define _GNU_SOURCE
#include "stand_in.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

static char loaded[256];

const char *ucs_modules(void)
{
    return loaded;
}

void ucs_add_module(const char *name)
{
    snprintf(loaded + strlen(loaded), sizeof(loaded) - strlen(loaded), "%s ", name);
}

/* As the real one: in ucx/ beside this very library, with what follows the first dot of its own file's name. */
int ucs_load_module(const char *name)
{
    Dl_info self;
    char directory[4096], file[4096], path[8192 + 64];

    if (!ucm_stand_in() || !dladdr((void *)&ucs_load_module, &self))
        return 0;
    snprintf(directory, sizeof(directory), "%s", self.dli_fname);
    snprintf(file, sizeof(file), "%s", self.dli_fname);
    snprintf(path, sizeof(path), "%s/ucx/lib%s%s", dirname(directory), name, strchr(basename(file), '.'));
    return dlopen(path, RTLD_LAZY | RTLD_LOCAL) != NULL;
}
