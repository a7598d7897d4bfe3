"""From a checkpoint's name to its folder: one that is here, or a repository of the hub."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from model.checkpoint.limits import weigh_files
from model.errors import CheckpointError
from model.explain.familiarity import FAMILIARITY
from model.files import LFS_POINTER, find_similar, is_lfs_pointer_file

SHIPPED = Path(__file__).parents[2] / "assets" / "checkpoint"
SHIPPED_NAME = "shipped"
SAFE = "model"  # how names of safetensors begin: in parts they are model-00001-of-00002.safetensors
WEIGHTS = f"{SAFE}.safetensors"
PICKLED = "pytorch_model.bin"
ITS_WEIGHTS_ARE_PICKLED = (
    f"its weights are pickled ({PICKLED}), a format that can hold programs; "
    "allow_pickle=True, or --allow-pickle, reads the tensors in it and nothing else"
)
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
PATIENCE = 10  # seconds that the hub may take to say what a repository holds


class HubAddress(NamedTuple):
    """What the address of a page of the hub names.

    Attributes:
        kind: "models", "datasets" or "spaces".
        id: of the repository, USER/NAME.
        revision: where the address has one, as in .../tree/main.
    """

    kind: str
    id: str
    revision: str | None


def parse_hub_address(name: str) -> HubAddress | None:
    """What https://huggingface.co/datasets/USER/NAME/tree/main, or hf.co/USER/NAME, or another
    address of the hub names; None for what is no such address."""
    match = _compile_address().fullmatch(name.strip())
    if not match:
        return None
    revision = match["revision"] and unquote(match["revision"])
    return HubAddress((match["kind"] or "models").lower(), match["id"], revision)


@cache
def _compile_address() -> re.Pattern[str]:
    """The pattern of an address of the hub, which may be a mirror's."""
    from huggingface_hub import constants

    hosts = ["huggingface.co", "hf.co", urlsplit(constants.ENDPOINT).netloc]
    return re.compile(
        rf"(?:(?:https?://)?(?:www\.)?(?:{'|'.join(map(re.escape, hosts))})/|hf://)"
        r"(?:(?P<kind>models|datasets|spaces)/)?"
        r"(?P<id>(?!(?:models|datasets|spaces)/)[^/?#@\s]+/[^/?#@\s]+?)(?:\.git)?"
        r"(?:/(?:tree|blob|resolve|raw|commits?)/(?P<revision>[^/?#\s]+))?"
        r"(?:[/?#].*)?",
        re.IGNORECASE,
    )


def resolve_model_name(name: str | Path) -> str | Path:
    """A checkpoint's name, where it is the address of a model's page on the hub as USER/NAME.

    Raises CheckpointError for the address of a data set, a Space, or a branch other than main.
    """
    address = None
    if isinstance(name, str) and not os.path.exists(name):
        address = parse_hub_address(name)
    if address is None:
        return name
    if address.kind != "models":
        kind = {"datasets": "dataset", "spaces": "Space"}[address.kind]
        raise CheckpointError(f"{name}: a {kind} of the hub, not a captioner; give a model's name")
    if address.revision not in (None, "main"):
        raise CheckpointError(
            f"{name}: only the branch main is read; for this one, run hf download {address.id} "
            f"--revision {address.revision} --local-dir FOLDER, and give FOLDER"
        )
    return address.id


def is_hub_id(name: str) -> bool:
    """Whether this can be the name of a repository, USER/NAME."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def find_checkpoint_folder(
    name: str | Path,
    allow_pickle: bool = False,
    check: Callable[[Path], object] = lambda folder: None,
) -> Path:
    """The folder of a checkpoint; a repository of the hub is downloaded (or found cached).

    Args:
        name: a folder, USER/NAME, or as `resolve_model_name` gives it.
        allow_pickle: also fetch pickled weights, where there are no others.
        check: given a folder with `config.json` before anything large is fetched; what it raises
            ends the matter.

    Raises CheckpointError, in one line that says what to do, for what cannot be had.
    """
    if os.path.isdir(name):  # unlike Path's, False for what cannot be a path
        return _without_pointers(Path(name))
    if os.path.exists(name):
        raise CheckpointError(f"{name}: a file; give the checkpoint's folder")
    if isinstance(name, Path) or not is_hub_id(name):
        similar = find_similar(name)
        hint = f"; did you mean {similar}?" if similar else ""
        raise CheckpointError(f"{name}: no such checkpoint folder{hint}")
    return _download(name, allow_pickle, check)


def _download(name: str, allow_pickle: bool, check: Callable[[Path], object]) -> Path:
    """As `find_checkpoint_folder`, of a repository."""
    # imported here, as it takes longer than a caption, and a captioner in a folder does without
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = ["*.json", "*.jinja", "vocab.txt", "merges.txt", f"{SAFE}*.safetensors", FAMILIARITY]
    try:
        # One question at first: it fails at once where there is no network, a download retries.
        with tell_hub_errors(name):
            siblings = HfApi().model_info(name, timeout=PATIENCE).siblings or []
        held = {file.rfilename for file in siblings}
        if "config.json" not in held:
            raise CheckpointError(f"{name}: there is no config.json, so it is no captioner")
        with tell_hub_errors(name):
            folder = Path(snapshot_download(name, allow_patterns=["config.json"]))
        weigh_files(folder)
        check(folder)
        is_safe = any(fnmatch(file, f"{SAFE}*.safetensors") and "/" not in file for file in held)
        if not is_safe and any(file.startswith("pytorch_model") for file in held):
            if not allow_pickle:
                raise CheckpointError(f"{name}: {ITS_WEIGHTS_ARE_PICKLED}")
            patterns.append("pytorch_model*.bin")
        with tell_hub_errors(name):
            return Path(snapshot_download(name, allow_patterns=patterns))
    except UnreachableError as error:
        try:
            # asked for these alone: a copy without the files that were never fetched is whole
            here = snapshot_download(name, allow_patterns=patterns, local_files_only=True)
            return Path(here)
        except LocalEntryNotFoundError:
            raise CheckpointError(
                f"{name}: neither a folder nor a model that the hub gives out now; there is no "
                f"copy here either: run hf download {name} where there is a network"
            ) from error


class UnreachableError(Exception):
    """The hub cannot be reached."""


@contextmanager
def tell_hub_errors(name: str) -> Iterator[None]:
    """Around what asks the hub, and nothing else: raises CheckpointError for its refusals, and
    UnreachableError when there is no network, which is said in many ways."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name}: its owners ask you to accept terms at https://huggingface.co/{name}; "
            "then run hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: the hub has no such model, or it is private: then run hf auth login"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise CheckpointError(f"{name}: cannot be kept here ({error.strerror})") from error
        raise UnreachableError from error


def _without_pointers(folder: Path) -> Path:
    """The folder of a checkpoint; raises CheckpointError if Git LFS has yet to fetch its files, and
    as `weigh_files` does."""
    weigh_files(folder)
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".txt", ".safetensors", ".bin") and is_lfs_pointer_file(path):
            raise CheckpointError(f"{path}: {LFS_POINTER}")
    return folder
