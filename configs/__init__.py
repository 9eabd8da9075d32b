"""Configs: one file per run, with its command, hardware, training time and measured result."""
