"""Pictures of exposures, drawn with matplotlib (the extra ``plot``)."""
