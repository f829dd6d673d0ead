"""What `make docs` changes of the pages: links to files of the checkout that are no pages.

On a code host they lead to the file; the site has no such page, so it shows their text alone. A
link to a file that is not there is left, and fails the build.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_OUT = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace links out of docs/ by the names of the files."""
    return _OUT.sub(_name, markdown)


def _name(link: "re.Match[str]") -> str:
    text, file, _ = link.groups()
    if not (ROOT / file).exists():
        return link[0]
    return text if file.rstrip("/") in text else f"{text} (`{file}`)"
