"""Point spread functions, and how they are stored."""
