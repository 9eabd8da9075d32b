"""Trained models in use: saved in a folder, loaded, asked for predictions, exported. Private."""
