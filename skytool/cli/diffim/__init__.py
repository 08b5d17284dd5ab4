"""``skytool diffim``."""
