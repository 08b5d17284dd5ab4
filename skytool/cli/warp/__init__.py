"""``skytool warp``."""
