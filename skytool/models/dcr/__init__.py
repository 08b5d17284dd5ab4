"""Bands, refraction in an image, and the sky as refraction makes it."""
