"""The refraction of the atmosphere, and directions seen from a site."""
