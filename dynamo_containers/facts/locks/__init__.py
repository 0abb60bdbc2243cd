"""The contents of lock files, and what two states of them have in common or apart."""
