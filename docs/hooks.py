"""What `mkdocs build` does beside its plugins: config.md comes from the schema of the configs."""

from pathlib import Path
import sys
from typing import Any


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text of a page, generated for config.md."""
    if page.file.src_uri != "config.md":
        return markdown
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from train import config

    return config.reference()
