"""``skytool skymap``."""
