"""Stages: functions of exposures and a frozen configuration."""
