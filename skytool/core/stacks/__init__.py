"""Several images of one sky: their combination, and values that the others contradict."""
