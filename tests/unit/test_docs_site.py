"""The docs build as a site without a warning, where mkdocs is installed; each page is named."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import output_of
from tests.conftest import ROOT

MKDOCS = shutil.which("mkdocs", path=str(Path(sys.executable).parent))
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.slow
@pytest.mark.skipif(MKDOCS is None, reason="needs mkdocs: pip install 'rnnjob[docs]'")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(MKDOCS), "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "tutorial.html").read_text()
    loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', page)
    assert loaded == []


@pytest.mark.parametrize("file", [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")], ids=str)
def test_links_between_files_lead_somewhere(file: Path) -> None:
    targets = LINK.findall(file.read_text())
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    output_of([sys.executable, str(ROOT / "scripts" / "draw_architecture.py"), "--check"])


def test_the_site_names_every_page() -> None:
    named = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in named] == []
