"""Cells of images, surfaces through them, and what makes backgrounds of one field agree."""
