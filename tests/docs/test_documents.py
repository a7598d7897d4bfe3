"""What the documents point at is there: links, headings, pictures, commands and files."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "assets" / "checkpoint" / "README.md",
    ROOT / "training" / "RESULTS.md",
]
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MODULE = re.compile(r"(?:python|torchrun .*) -m (\w+(?:\.\w+)*)")
TOP_LEVEL = r"(?:model|training|ui|tests|tools|benchmarks|assets|docs|\.ci|\.github)"
# a file of the project, or a folder of it with a slash at the end
PATH = re.compile(rf"`({TOP_LEVEL}/(?:[\w./-]+\.\w+|(?:[\w.-]+/)*)|\w[\w-]*\.(?:py|md|txt))`")
MADE_BY_USERS = {"captions.txt"}  # files that the documents name but the project does not have
each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix()
)


@cache
def find_anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_somewhere(document):
    text = CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))
    dead = []
    for link in LINK.findall(text):
        if re.match(r"\w+:", link):  # an address
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            dead.append(link)
    assert not dead


@each_document
def test_commands_are_modules(document):
    modules = sorted(set(MODULE.findall(document.read_text(encoding="utf-8"))))
    assert [module for module in modules if not is_module(module)] == []


def is_module(name: str) -> bool:
    """Whether `python -m name` finds something to run; the module itself is not imported."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # of the package that it would be in
        return False
    folders = spec.submodule_search_locations if spec else None
    return spec is not None if folders is None else any(map(has_main, folders))


def has_main(folder: str) -> bool:
    return Path(folder, "__main__.py").is_file()


@each_document
def test_make_has_the_targets(document):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    mentioned = re.findall(r"(?:^|`)make (\w+)", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(mentioned) <= targets


@each_document
def test_files_exist(document):
    text = CODE_BLOCK.sub("", document.read_text(encoding="utf-8"))
    paths = sorted(set(PATH.findall(text)) - MADE_BY_USERS)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_messages_name_documents_that_exist():
    names = {
        name
        for folder in ("model", "training", "ui")
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(rf"\b{TOP_LEVEL}/[\w/-]+\.md\b", file.read_text(encoding="utf-8"))
    }
    assert [name for name in sorted(names) if not (ROOT / name).exists()] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_every_document_is_reached_from_the_readme():
    links = LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert documents and documents <= {link.partition("#")[0] for link in links}
