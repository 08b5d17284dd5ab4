"""Where pixels are on the sky, and where images and detectors lie."""
