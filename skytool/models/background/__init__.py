"""Backgrounds that were taken off an image or added to it."""
