"""``skytool info``."""
