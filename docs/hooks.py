"""What `mkdocs build` does beside its plugins."""
