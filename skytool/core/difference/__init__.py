"""Differences of images: white noise, significance, sources."""
