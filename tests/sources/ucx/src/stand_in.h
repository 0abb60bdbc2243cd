int ucm_stand_in(void);
int ucs_load_module(const char *name);
const char *ucs_modules(void);
void ucs_add_module(const char *name);
const char *uct_modules(void);
