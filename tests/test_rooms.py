"""Who imports whom, read from the source: a room stands above what it uses, and nothing goes round.

Imports inside functions and under TYPE_CHECKING count as well: what only works when delayed is a
circle all the same.
"""

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# From the ground up. Modules of one line may import each other and what stands before their line.
ROOMS = {
    "model": [
        ["errors", "wording"],
        ["files", "images", "output_path", "error_reporting"],
        ["network"],
        ["search"],
        ["explain"],
        ["checkpoint"],
        ["corpora"],
        ["memory", "translation"],
        ["captioner", "loading"],
        ["batches"],
        ["__init__"],
        ["output"],
        ["lesson"],
        ["scale"],
        ["commands"],
        ["__main__"],
    ],
    "training": [
        ["__init__"],
        ["data"],
        ["evaluation"],
        ["objectives"],
        ["options", "settings"],
        ["loop"],
        ["translation"],
        ["publish"],
        ["train", "evaluate", "check", "export", "average", "familiarity", "evaluate_maps"]
        + ["draw", "compare_tokenizers", "pretrain", "train_memory"]
        + ["train_translator", "evaluate_translator", "calibrate_translator"],
    ],
    "ui": [
        ["__init__"],
        ["command_line", "errors", "gradio_internals", "gradio_queue", "templates"],
        ["serving", "uploads"],
        ["lens", "lesson"],
        ["tabs"],
        ["endpoints", "page"],
    ],
}
USES = {"model": {"model"}, "training": {"training", "model"}, "ui": {"ui", "model"}}
OTHER_CODE = ["tests", "tools", "benchmarks"]


def name_module(path: Path) -> str:
    """`model.search` for model/search/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def read_imports() -> dict[str, set[str]]:
    """Each module of the three packages, and the modules of theirs that its source imports."""
    paths = {name_module(path): path for top in ROOMS for path in (ROOT / top).rglob("*.py")}
    imports: dict[str, set[str]] = {}
    for module, path in paths.items():
        imports[module] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module}: give the whole name, not a relative one"
                # a module of a package, or a name inside a module
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in paths else node.module for name in whole]
            else:
                continue
            imports[module].update(name for name in names if name in paths)
    return imports


def find_floor(module: str) -> int | None:
    """How high the room of this module stands in its package; None where it has no room."""
    top, _, rest = module.partition(".")
    room = rest.partition(".")[0] or "__init__"
    return next((i for i, rooms in enumerate(ROOMS[top]) if room in rooms), None)


def test_every_module_has_a_room():
    assert [module for module in read_imports() if find_floor(module) is None] == []


def test_no_import_goes_up():
    upwards = [
        f"{module} -> {other}"
        for module, others in sorted(read_imports().items())
        for other in sorted(others)
        if module.partition(".")[0] == other.partition(".")[0]
        and None not in (floors := (find_floor(module), find_floor(other)))
        and floors[0] < floors[1]
    ]
    assert upwards == []


def test_no_import_goes_to_a_stranger():
    """The model knows nothing of training and page, which know nothing of each other."""
    strange = [
        f"{module} -> {other}"
        for module, others in sorted(read_imports().items())
        for other in sorted(others)
        if other.partition(".")[0] not in USES[module.partition(".")[0]]
    ]
    assert strange == []


def test_no_import_goes_round():
    try:
        TopologicalSorter(read_imports()).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_no_file_shadows_the_standard_library():
    files = [
        path.relative_to(ROOT)
        for folder in [*ROOMS, *OTHER_CODE]
        for path in (ROOT / folder).rglob("*.py")
    ]
    names = [*files, *{folder for path in files for folder in path.parents if folder.name}]
    assert [str(name) for name in names if name.stem in sys.stdlib_module_names] == []
