"""Makes the pictures of docs/pictures.md, by running the code on that page.

python docs/make_pictures.py [folder]
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def code() -> str:
    """The Python on the page."""
    page = (HERE / "pictures.md").read_text("utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))


def make(folder: Path) -> list[Path]:
    """Run the code on the page with its results in `folder`; the pictures that it wrote."""
    with contextlib.chdir(folder):
        exec(compile(code(), "pictures.md", "exec"), {})
    return sorted(path for path in folder.iterdir() if path.suffix in (".svg", ".png"))


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pictures"
    os.makedirs(target, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for picture in make(Path(name)):
            shutil.copy(picture, target / picture.name)
            print(target / picture.name)
