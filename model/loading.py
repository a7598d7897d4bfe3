"""`load`: a captioner by its name, whatever its family."""

import json
from importlib import import_module
from pathlib import Path
from threading import Lock

from PIL import Image

from model.captioner import Captioner
from model.checkpoint.hub import SHIPPED, SHIPPED_NAME, find_checkpoint_folder, resolve_model_name
from model.checkpoint.problems import blame_file
from model.errors import CheckpointError
from model.network.config import FORMAT
from model.network.network import Network

# transformers exchanges methods of its classes while it loads: two loads at once break all later
ONE_AT_A_TIME = Lock()
# by model_type, beside our own format: the module that reads it, imported when one is asked for,
# as transformers takes longer to import than a caption takes; docs/architecture.md says how to add
# one
FAMILIES = {
    "vision-encoder-decoder": "model.checkpoint.families.vision_encoder_decoder",
    "blip": "model.checkpoint.families.blip",
    "git": "model.checkpoint.families.git",
    "idefics3": "model.checkpoint.families.idefics3",
    "smolvlm": "model.checkpoint.families.idefics3",
    "llava": "model.checkpoint.families.llava",
    "florence2": "model.checkpoint.families.florence2",
    "internvl": "model.checkpoint.families.internvl",
    "paligemma": "model.checkpoint.families.paligemma",
    "gemma3": "model.checkpoint.families.gemma3",
    "llava_onevision": "model.checkpoint.families.llava_onevision",
    "qwen2_vl": "model.checkpoint.families.qwen_vl",
    "qwen2_5_vl": "model.checkpoint.families.qwen_vl",
    "qwen3_vl": "model.checkpoint.families.qwen_vl",
}
# by model_type: why no map can be made of it
THROUGH_QUERIES = "its words see the photo through a few queries that do not know the words"
WITHOUT_WEIGHTS = "some of its layers have no attention weights"
OWN_PROGRAM = "it brings its own program, and none from elsewhere is run"
UNFIT = {
    "blip-2": THROUGH_QUERIES,
    "instructblip": THROUGH_QUERIES,
    "kosmos-2": THROUGH_QUERIES,
    "moondream1": OWN_PROGRAM,
    "internvl_chat": f"{OWN_PROGRAM}; take the repository of the same name with -hf at its end",
    "qwen3_5": WITHOUT_WEIGHTS,
    "qwen3_5_moe": WITHOUT_WEIGHTS,
    "lfm2_vl": WITHOUT_WEIGHTS,
}


def load(name: str | Path = SHIPPED, *, allow_pickle: bool = False) -> Captioner:
    """A captioner in a folder, or a repository of the hub (USER/NAME, or the address of its page):
    ours, or one of `FAMILIES`. "shipped" is the one that came with CaptionLens.

    allow_pickle: read pickled weights where there are no others; see
        `families.vision_encoder_decoder.read_network`.

    Raises CheckpointError, in one line, for what is no captioner or does not fit.
    """
    if name == SHIPPED_NAME:
        name = SHIPPED
    name = resolve_model_name(name)
    folder = fetch(name, allow_pickle=allow_pickle)
    family = _read_family(folder, name)
    try:
        with ONE_AT_A_TIME, blame_file(folder):
            if family in FAMILIES:
                reader = import_module(FAMILIES[family])
                captioner = Captioner(reader.read_network(folder, allow_pickle), family=family)
            else:
                captioner = Captioner.from_pretrained(folder)
            _try_out(captioner.network)
    except CheckpointError as error:
        if folder == Path(name):
            raise
        # a repository is known by its name, not by where this machine keeps its copy
        raise CheckpointError(str(error).replace(str(folder), str(name))) from error
    captioner.name = str(name) if folder != SHIPPED else SHIPPED_NAME
    return captioner


def fetch(name: str | Path, *, allow_pickle: bool = False) -> Path:
    """The folder of a checkpoint that `load` can read; one of the hub is downloaded, if need be.

    Raises CheckpointError, in one line, for what is no captioner, before its weights are fetched.
    """
    return find_checkpoint_folder(
        name, allow_pickle, check=lambda folder: _read_family(folder, name)
    )


def _try_out(network: Network) -> None:
    """Raises what would else come with the first photo or word."""
    pixel_values = network.pixel_values([Image.new("RGB", (8, 6), "red")])
    size = network.config.image_size
    if pixel_values.shape != (1, 3, *size) or not pixel_values.isfinite().all():
        raise CheckpointError(f"its image processor gives {tuple(pixel_values.shape)} for {size}")
    network.tokenizer.words(network.tokenizer.encode("A dog.")[0])


def _read_family(folder: Path, name: str | Path) -> str:
    """The model_type; raises CheckpointError, which says what is there, if it is no captioner's."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return FORMAT  # whose reader says what is wrong with it
    family = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(family, str) or family in (FORMAT, *FAMILIES):
        return str(family)
    if family in UNFIT:
        raise CheckpointError(f"{name}: a {family} model is not read: {UNFIT[family]}")
    classes = config.get("architectures")
    class_name = f" ({classes[0]})" if isinstance(classes, list) and classes else ""
    raise CheckpointError(
        f"{name}: its model_type is {family!r}{class_name}, not a captioner that can be read; "
        f"choose one of {FORMAT!r}, {', '.join(map(repr, FAMILIES))}"
    )
