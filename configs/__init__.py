"""Configs: one file a run, each with the command, hardware, time and measured result."""
