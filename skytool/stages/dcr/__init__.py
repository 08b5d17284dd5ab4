"""The sky as refraction makes it, from exposures at several airmasses."""
