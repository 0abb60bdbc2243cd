"""Pure planners: a request and its inputs give documents and commands. No clock, environment, files or processes."""
