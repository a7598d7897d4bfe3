"""From a checkpoint's name to its folder: one that is here, or a repository of the hub."""

import re
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from model.config import CheckpointError
from model.familiarity import FAMILIARITY

WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
PATIENCE = 10  # seconds that the hub may take to say what a repository holds


def checkpoint_folder(name: str | Path, allow_pickle: bool = False) -> Path:
    """The folder of a checkpoint; a repository of the hub is downloaded (or found cached).

    allow_pickle: also fetch pickled weights, where there are no others.

    Raises CheckpointError, in one line that says what to do, for what cannot be had.
    """
    path = Path(name)
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{name}: a file; give the checkpoint's folder")
    if isinstance(name, Path) or not HUB_ID.fullmatch(name):
        raise CheckpointError(f"{name}: no such checkpoint folder")
    patterns = ["*.json", "vocab.txt", "merges.txt", WEIGHTS, FAMILIARITY]
    try:
        # One question at first: it fails at once where there is no network, a download retries.
        held = {file.rfilename for file in HfApi().model_info(name, timeout=PATIENCE).siblings}
        if allow_pickle and WEIGHTS not in held:
            patterns.append(PICKLED)
        return Path(snapshot_download(name, allow_patterns=patterns))
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name}: its owners ask you to accept terms at https://huggingface.co/{name}; "
            "then run hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: the hub has no such model, or it is private: then run hf auth login"
        ) from error
    except Exception as error:  # no network, said in many ways
        try:
            return Path(snapshot_download(name, local_files_only=True))
        except LocalEntryNotFoundError:
            raise CheckpointError(
                f"{name}: neither a folder nor a model that the hub gives out now; there is no "
                f"copy here either: run hf download {name} where there is a network"
            ) from error
