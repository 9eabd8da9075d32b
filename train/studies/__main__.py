"""Lists the studies: python -m train.studies"""

import ast
from pathlib import Path
import re


def questions() -> dict[str, str]:
    """The question of each study, by the study's command line without `python -m`."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        usage = re.search(rf"^ +python -m (train\.studies\.{path.stem} .*)$", doc, re.MULTILINE)
        if usage:
            found[usage[1]] = doc.partition("\n")[0]
    return found


if __name__ == "__main__":
    for command, question in questions().items():
        print(f"{question}\n    python -m {command}")
