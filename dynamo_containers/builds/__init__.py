"""The verbs that build, run and clean images."""
