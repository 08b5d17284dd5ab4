"""The pattern that a camera's response prints on the night sky, and its strength in an image."""
