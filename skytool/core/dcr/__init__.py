"""The sky over a band from exposures with different refraction."""
