"""``skytool coadd``."""
