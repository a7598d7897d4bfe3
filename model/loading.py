"""`load`: a captioner by its name, whatever its family."""

import json
from pathlib import Path

from model import vit_gpt2
from model.captioner import SHIPPED, Captioner
from model.config import FORMAT, CheckpointError
from model.hub import checkpoint_folder

FAMILIES = {vit_gpt2.FAMILY: vit_gpt2.read}  # by model_type, beside our own format


def load(name: str | Path = SHIPPED, *, allow_pickle: bool = False) -> Captioner:
    """A captioner in a folder, or a repository of the hub: ours, or ViT + GPT-2 as transformers
    keeps it, which runs on our decoder.

    allow_pickle: read pickled weights where there are no others; see `vit_gpt2.read`.

    Raises CheckpointError, in one line, for what is no captioner or does not fit.
    """
    folder = checkpoint_folder(name, allow_pickle)
    try:
        read = FAMILIES.get(_kind(folder))
        captioner = read(folder, allow_pickle) if read else Captioner.from_pretrained(folder)
    except CheckpointError as error:
        if folder == Path(name):
            raise
        # a repository is known by its name, not by where this machine keeps its copy
        raise CheckpointError(str(error).replace(str(folder), str(name))) from error
    captioner.name = str(name) if folder != SHIPPED else "shipped"
    return captioner


def _kind(folder: Path) -> str:
    """The model_type; raises CheckpointError, which says what is there, if it is no captioner's."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return FORMAT  # whose reader says what is wrong with it
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind in (FORMAT, *FAMILIES):
        return str(kind)
    made = config.get("architectures") or [kind]
    raise CheckpointError(
        f"{path}: model_type is {kind!r} ({made[0]}), not a captioner that can be read; "
        f"choose one of {FORMAT!r}, {', '.join(map(repr, FAMILIES))}"
    )
