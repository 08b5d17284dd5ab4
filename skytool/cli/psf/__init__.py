"""``skytool psf``."""
