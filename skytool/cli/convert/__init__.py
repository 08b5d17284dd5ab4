"""``skytool convert``."""
