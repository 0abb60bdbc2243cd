"""Pure planners, from a request and its inputs to documents and commands. No clock, environment, files or processes."""
