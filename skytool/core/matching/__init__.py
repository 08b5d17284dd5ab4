"""Kernels that bring one point spread function to another."""
