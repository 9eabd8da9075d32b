"""Data sets that are made here, as nobody offers them for download."""
