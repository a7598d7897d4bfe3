"""From a checkpoint's name to its folder: one that is here, or a repository of the hub."""

import errno
import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from model.config import CheckpointError
from model.familiarity import FAMILIARITY

SAFE = "model"  # how names of safetensors begin: in parts they are model-00001-of-00002.safetensors
WEIGHTS = f"{SAFE}.safetensors"
PICKLED = "pytorch_model.bin"
ITS_WEIGHTS_ARE_PICKLED = (
    f"its weights are pickled ({PICKLED}), a format that can hold programs; "
    "allow_pickle=True, or --allow-pickle, reads the tensors in it and nothing else"
)
PATIENCE = 10  # seconds that the hub may take to say what a repository holds


def is_hub_id(name: str) -> bool:
    """Whether this can be the name of a repository, USER/NAME."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def checkpoint_folder(
    name: str | Path,
    allow_pickle: bool = False,
    check: Callable[[Path], object] = lambda folder: None,
) -> Path:
    """The folder of a checkpoint; a repository of the hub is downloaded (or found cached).

    Args:
        allow_pickle: also fetch pickled weights, where there are no others.
        check: given a folder with `config.json` before anything large is fetched; what it raises
            ends the matter.

    Raises CheckpointError, in one line that says what to do, for what cannot be had.
    """
    if os.path.isdir(name):  # unlike Path's, False for what cannot be a path
        return Path(name)
    if os.path.exists(name):
        raise CheckpointError(f"{name}: a file; give the checkpoint's folder")
    if isinstance(name, Path) or not is_hub_id(name):
        raise CheckpointError(f"{name}: no such checkpoint folder")
    patterns = ["*.json", "vocab.txt", "merges.txt", f"{SAFE}*.safetensors", FAMILIARITY]
    try:
        # One question at first: it fails at once where there is no network, a download retries.
        held = {file.rfilename for file in HfApi().model_info(name, timeout=PATIENCE).siblings}
        if "config.json" not in held:
            raise CheckpointError(f"{name}: there is no config.json, so it is no captioner")
        check(Path(snapshot_download(name, allow_patterns=["config.json"])))
        is_safe = any(fnmatch(file, f"{SAFE}*.safetensors") and "/" not in file for file in held)
        if not is_safe and any(file.startswith("pytorch_model") for file in held):
            if not allow_pickle:
                raise CheckpointError(f"{name}: {ITS_WEIGHTS_ARE_PICKLED}")
            patterns.append("pytorch_model*.bin")
        return Path(snapshot_download(name, allow_patterns=patterns))
    except CheckpointError:
        raise
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
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise CheckpointError(f"{name}: cannot be kept here ({error.strerror})") from error
        try:
            # asked for these alone: a copy without the files that were never fetched is whole
            here = snapshot_download(name, allow_patterns=patterns, local_files_only=True)
            return Path(here)
        except LocalEntryNotFoundError:
            raise CheckpointError(
                f"{name}: neither a folder nor a model that the hub gives out now; there is no "
                f"copy here either: run hf download {name} where there is a network"
            ) from error
