"""Sizes of images: measured, compared with budgets, and accepted."""
