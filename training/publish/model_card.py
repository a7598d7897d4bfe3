"""The model card of a captioner: what is known of its run, and nothing else.

A card is public, so folders appear by their last name alone. `model_card.md.jinja` has the text.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import jinja2
from huggingface_hub import ModelCardData

from model import Captioner
from model.checkpoint import hub
from model.checkpoint.hub import SHIPPED
from model.explain.familiarity import FAMILIARITY
from training.loop.callbacks import describe_best, find_best
from training.loop.run_folder import BEST, CURVE
from training.publish.run_record import RunRecord, list_data
from training.settings import name_option

PRIVATE_SETTINGS = {"data", "output", "cache"}  # they say nothing about how it was trained
HOME_FOLDERS = ("home", "Users")


def is_shipped(location: str | Path) -> bool:
    """Whether this is the captioner that ships with CaptionLens, here or in another checkout."""
    return PureWindowsPath(location).parts[-2:] == SHIPPED.parts[-2:]


def is_hub_id(name: str) -> bool:
    """Whether this names something of the hub; a dataset may be `owner/name:configuration`."""
    return hub.is_hub_id(name.partition(":")[0]) and not Path(name).exists()


def get_public_name(location: str) -> str:
    """What the public may know of a folder or hub id: the id, or the folder's own name."""
    if is_hub_id(location):
        return location
    if is_shipped(location):
        return "shipped"
    path = PureWindowsPath(location)  # which splits at both kinds of slash
    name = path.parent.name if path.name == BEST else path.name
    return "a folder" if path.parent.name in HOME_FOLDERS else name or "a folder"


def create_card(
    captioner: Captioner,
    name: str,
    run: RunRecord,
    scores: dict | None = None,
    license: str = "other",
) -> str:
    """The whole card in Markdown.

    name: what one gives `load`: hub id or folder name.
    scores: what `training.evaluate` wrote about this captioner.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    latest = run.settings[0] if run.settings else {}
    first = run.settings[-1] if run.settings else {}
    best = find_best(run.evaluations)
    network = captioner.network
    return environment.get_template("model_card.md.jinja").render(
        card_data=create_metadata(run, license).to_yaml(),
        title=name.rpartition("/")[2],
        config=network.config,
        grid_size=network.encoder.grid_size,
        num_parameters=sum(p.numel() for p in network.parameters()),
        data_names=[describe_data(settings) for settings in run.settings],
        counts=run.counts,
        origin_kind="captioner" if first.get("checkpoint") else "image encoder",
        origin_name=get_public_name(run.origin or "?"),
        from_shipped=is_shipped(run.origin or "?"),
        scores=scores,
        scores_data_name=get_public_name(scores["data"]) if scores else None,
        implementations=list_implementations(scores) if scores else None,
        evaluate_command=format_evaluate_command(captioner, name, scores) if scores else None,
        describe_search=describe_search,
        best=best,
        best_description=describe_best(run.evaluations) if best else None,
        eval_beams=latest.get("eval_beams", 1),
        num_evaluations=len(run.evaluations),
        curve=CURVE if run.curve else None,
        familiarity_file=FAMILIARITY if captioner.familiarity else None,
        name_in_python=json.dumps(name, ensure_ascii=False),
        name_in_shell=shlex.quote(name),
        options=list(list_options(latest)),
    )


def describe_data(settings: dict) -> str:
    """What the public may know of the data of a run with these settings."""
    return "` and `".join(get_public_name(name) for name in list_data(settings))


def create_metadata(run: RunRecord, license: str) -> ModelCardData:
    """The card's front matter, which the hub reads."""
    data = list_data(run.settings[0]) if run.settings else []
    hub_datasets = [name.partition(":")[0] for name in data if is_hub_id(name)]
    base_model = run.origin
    return ModelCardData(
        license=license,
        library_name="captionlens",
        pipeline_tag="image-to-text",
        base_model=base_model if base_model and is_hub_id(base_model) else None,
        datasets=hub_datasets or None,
        tags=["captionlens", "image-captioning", "cross-attention"],
    )


def list_implementations(scores: dict) -> list[str]:
    """The implementations and tokenizers that scores were computed with."""
    methods = scores["made_with"].values()
    return sorted({f"{method['implementation']}, {method['tokenizer']}" for method in methods})


def format_evaluate_command(captioner: Captioner, name: str, scores: dict) -> str:
    """The command that gives these scores again."""
    command = f"python -m training.evaluate --data DIR --split {scores['split']}"
    command += f" --checkpoint {shlex.quote(name)}"
    defaults = captioner.options()
    for option in ("num_beams", "length_penalty"):
        value = scores["decoding"].get(option)
        if value != getattr(defaults, option):
            command += f" {name_option(option)} {value}"
    return command


def describe_search(num_beams: int) -> str:
    """How captions were searched for."""
    return "greedy decoding" if num_beams == 1 else f"beam search with {num_beams} beams"


def list_options(settings: dict) -> Iterator[tuple[str, str]]:
    """The options of a run that made a difference, as they may be published."""
    for name, value in settings.items():
        if name in PRIVATE_SETTINGS or value is None or value is False:
            continue
        if isinstance(value, str) and (re.search(r"[/\\]", value) or name == "checkpoint"):
            value = get_public_name(value)
        yield name_option(name), "yes" if value is True else str(value).replace("|", "\\|")
