"""What went into a product, and with which settings."""
