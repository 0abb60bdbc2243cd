// What a plugin says of itself.
const char *nixl_stand_in(const char *plugin);
