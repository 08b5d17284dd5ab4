"""``skytool match-bg``."""
