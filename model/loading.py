"""`load`: a captioner by its name, whatever its family."""

import json
from pathlib import Path
from threading import Lock

from PIL import Image

from model.captioner import SHIPPED, SHIPPED_NAME, Captioner
from model.checkpoint.families import blip, vision_encoder_decoder
from model.checkpoint.hub import checkpoint_folder, model_name
from model.errors import CheckpointError
from model.network.config import FORMAT, blame_file

# transformers exchanges methods of its classes while it loads: two loads at once break all later
ONE_AT_A_TIME = Lock()
# by model_type, beside our own format; docs/architecture.md says how to add one
FAMILIES = {family.FAMILY: family.read for family in (vision_encoder_decoder, blip)}


def load(name: str | Path = SHIPPED, *, allow_pickle: bool = False) -> Captioner:
    """A captioner in a folder, or a repository of the hub (USER/NAME, or the address of its page):
    ours, or one of `FAMILIES`. "shipped" is the one that came with CaptionLens.

    allow_pickle: read pickled weights where there are no others; see
        `vision_encoder_decoder.read`.

    Raises CheckpointError, in one line, for what is no captioner or does not fit.
    """
    if name == SHIPPED_NAME:
        name = SHIPPED
    name = model_name(name)
    folder = checkpoint_folder(name, allow_pickle, check=lambda folder: _kind(folder, name))
    read = FAMILIES.get(_kind(folder, name))
    try:
        with ONE_AT_A_TIME, blame_file(folder):
            captioner = read(folder, allow_pickle) if read else Captioner.from_pretrained(folder)
            _try(captioner)
    except CheckpointError as error:
        if folder == Path(name):
            raise
        # a repository is known by its name, not by where this machine keeps its copy
        raise CheckpointError(str(error).replace(str(folder), str(name))) from error
    captioner.name = str(name) if folder != SHIPPED else SHIPPED_NAME
    return captioner


def _try(captioner: Captioner) -> None:
    """Raises what would else come with the first photo or word."""
    given = captioner.pixel_values([Image.new("RGB", (8, 6), "red")])
    size = captioner.config.image_size
    if given.shape != (1, 3, *size) or not given.isfinite().all():
        raise CheckpointError(f"its image processor gives {tuple(given.shape)} for {size}")
    captioner.tokenizer.words(captioner.tokenizer.encode("A dog.")[0])


def _kind(folder: Path, name: str | Path) -> str:
    """The model_type; raises CheckpointError, which says what is there, if it is no captioner's."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return FORMAT  # whose reader says what is wrong with it
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind in (FORMAT, *FAMILIES):
        return str(kind)
    made = config.get("architectures")
    made = f" ({made[0]})" if isinstance(made, list) and made else ""
    raise CheckpointError(
        f"{name}: its model_type is {kind!r}{made}, not a captioner that can be read; "
        f"choose one of {FORMAT!r}, {', '.join(map(repr, FAMILIES))}"
    )
