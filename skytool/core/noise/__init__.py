"""The noise of images, and values for pixels without one."""
