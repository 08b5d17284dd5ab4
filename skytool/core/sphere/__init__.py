"""Directions on the sphere, and what encloses them."""
