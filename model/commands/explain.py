"""`python -m model explain`: a map for each word of a caption."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.commands.inputs import (
    add_checkpoint_option,
    add_memory_option,
    add_pickle_option,
    add_prompt_option,
    load_captioner,
    load_memory,
)
from model.errors import OptionError
from model.explain.explanation import Explanation
from model.explain.methods import DEFAULT_METHOD, METHODS, get_method
from model.images import load_image
from model.output.figures import SCALES, draw_contact_sheet, save_figure
from model.output.overlays import DEFAULT_STYLE, STYLES
from model.output.records import make_explanation_record
from model.output_path import check_output_file

HELP = "draw or save a map of where each word of a caption looked"
SUFFIXES = (".png", ".npz", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("image", metavar="IMAGE", help="photo")
    add(
        "--text",
        metavar="SENTENCE",
        help="sentence to explain (default: the caption that the model writes)",
    )
    add(
        "--method",
        default=DEFAULT_METHOD,
        metavar="NAME",
        help=f"how maps are computed: {', '.join(METHODS)} (default: {DEFAULT_METHOD})",
    )
    for name in ("layer", "head"):
        add(
            f"--{name}",
            type=int,
            nargs="+",
            metavar="N",
            help=f"{name}s to use, counted from 0 (default: the mean over all)",
        )
    add("--mask-sinks", action="store_true", help="leave out patches that every token looks at")
    add(
        "--scale",
        choices=SCALES,
        default="word",
        help="brightness in a PNG: word makes each word's highest patch fully bright (default), "
        "shared only the highest of all words",
    )
    add(
        "--colours",
        choices=list(STYLES),
        default=DEFAULT_STYLE,
        help=f"how a PNG shows the map over the photo (default: {DEFAULT_STYLE})",
    )
    add(
        "--output",
        required=True,
        metavar="FILE",
        help="output file: a picture (.png), arrays (.npz) or JSON (.json)",
    )
    add_checkpoint_option(parser)
    add_memory_option(parser)
    add_prompt_option(parser)
    add_pickle_option(parser)


def run(settings: argparse.Namespace) -> int:
    """Save the maps of a photo's caption, or of a given sentence."""
    output = Path(settings.output)
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(f"{output}: the name must end in .png, .npz or .json")
    check_output_file(output)
    get_method(settings.method)
    photo = load_image(settings.image)
    memory = load_memory(settings.memory)
    captioner = load_captioner(settings.checkpoint, settings.allow_pickle, settings.prompt)
    encoded = captioner.encode([photo], memory)[0]  # once, for the caption and its maps
    text = settings.text if settings.text is not None else captioner.caption(encoded)
    explanation = captioner.explain(encoded, text, methods=[settings.method])
    selection = {"layer": settings.layer, "head": settings.head, "mask_sinks": settings.mask_sinks}
    maps = explanation.heatmaps(settings.method, **selection)
    description = {
        # a name that is not text would be none in the file either
        "image": os.fsencode(settings.image).decode(errors="backslashreplace"),
        "text": explanation.text,
        "method": settings.method,
        **selection,
        "checkpoint": captioner.name,
        **({} if settings.prompt is None else {"prompt": settings.prompt}),
        **({} if memory is None else {"memory": settings.memory}),
    }
    if suffix == ".png":
        description |= {"scale": settings.scale, "colours": settings.colours}
        sheet = draw_contact_sheet(photo, explanation, maps, description)
        save_figure(sheet, output, description)
    elif suffix == ".npz":
        _save_arrays(explanation, maps, output)
    else:
        record = make_explanation_record(explanation, maps, description)
        text = json.dumps(record, ensure_ascii=False) + "\n"
        output.write_text(text, encoding="utf-8", errors="backslashreplace")
    print(f"{explanation.text}\n{len(maps)} maps in {output}")
    for doubt in explanation.doubts(maps):
        print(doubt)
    if explanation.remembered:
        _print_memory(explanation)
    return 0


def _print_memory(explanation: Explanation) -> None:
    """The remembered captions, and how much each word looked at them."""
    print("remembered:")
    for caption in explanation.remembered:
        print(f"  {caption.photo}: {caption.text}")
    shares = (explanation.memory_share(i) for i in range(len(explanation.words)))
    words = zip(explanation.words, shares, strict=True)
    print("looked at them: " + ", ".join(f"{word.text} {share:.0%}" for word, share in words))


def _save_arrays(explanation: Explanation, maps: list[NDArray[Any]], path: Path) -> None:
    """Write the maps and the weights behind them as .npz."""
    attention = explanation.attention
    with open(path, "wb") as file:  # given a name, savez would add .npz to one that ends in .NPZ
        np.savez_compressed(
            file,
            maps=np.stack(maps),
            words=np.array([word.text for word in explanation.words]),
            weights=attention.weights,
            grid_size=np.array(attention.grid_size),
            num_prefix_tokens=np.array(attention.num_prefix_tokens),
            **_list_memory_arrays(explanation),
        )


def _list_memory_arrays(explanation: Explanation) -> dict[str, Any]:
    """The remembered captions whose tokens the last of the weights are for; none without a
    memory."""
    if not explanation.remembered:
        return {}
    shares = [explanation.memory_share(i) for i in range(len(explanation.words))]
    return {
        "remembered": np.array([caption.text for caption in explanation.remembered]),
        "remembered_lengths": np.array([len(c.tokens) for c in explanation.remembered]),
        "memory_shares": np.array(shares),
    }
