"""Divisions of the sky into tracts and patches."""
