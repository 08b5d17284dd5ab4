"""Images on other pixel grids, with variance, mask and the image of a star."""
