"""What the stand-in's frontend says."""
