"""A stand-in for the package that finds NIXL's library."""
