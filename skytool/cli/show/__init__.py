"""``skytool show``."""
