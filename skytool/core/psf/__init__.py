"""Point spread functions fitted to stars."""
