"""``skytool skyframe``."""
