"""Scripts that an image's own Python runs; nothing of this library is in there."""
