"""Documents name what is there: links, files, and the code that the architecture page walks through."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md"))
)
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
SOURCES = {path: path.read_text() for path in (ROOT / "vecna").rglob("*") if path.suffix in {".py", ".lua"}}


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", (ROOT / page).read_text())
    missing = [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()]
    assert not missing


def test_the_files_of_the_architecture_page_are_there() -> None:
    named = set(re.findall(r"`([\w/]+(?:\.py|\.lua|/))`", ARCHITECTURE))
    names = {path.name for path in SOURCES}
    missing = {name for name in named if not ((ROOT / name).exists() if "/" in name else name in names)}
    assert len(named) > 30
    assert not missing


def test_the_methods_of_the_architecture_page_are_there() -> None:
    named = set(re.findall(r"`([A-Z]\w+)\.(\w+)`", ARCHITECTURE)) - {("Config", "heartbeat")}
    missing = {
        f"{owner}.{name}"
        for owner, name in named
        if not any(
            re.search(rf"^class {owner}\b", text, re.MULTILINE) and re.search(rf"\b{name}\b", text)
            for text in SOURCES.values()
        )
    }
    assert len(named) > 15
    assert not missing
