#ifdef __cplusplus
extern "C" {
#endif
/* The names of the modules that could be loaded, each with what it says of itself. */
const char *ucp_stand_in_transports(void);
#ifdef __cplusplus
}
#endif
