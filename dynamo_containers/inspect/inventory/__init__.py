"""Inventory of images from their locks, and what an advisory affects: no engine, no image, no network."""
