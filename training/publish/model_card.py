"""The card of a captioner, in Markdown: what is known of its run, and nothing that is not.

A card is read by strangers, so folders appear by their last name alone.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from huggingface_hub import ModelCardData

from model import Captioner
from model.captioner import SHIPPED
from model.checkpoint import hub
from model.errors import DataError
from model.explain.familiarity import FAMILIARITY
from training.loop.callbacks import describe_best, find_best
from training.loop.run_folder import BEST, CURVE, DATA, LOG, SETTINGS

OF_THE_MACHINE = {"data", "output", "cache"}  # settings that say nothing about what was learned
NON_COMMERCIAL = (
    "These weights go on from those that ship with CaptionLens, which learned from Flickr8k: for "
    "non-commercial research and education only. So are these, whatever the new photos allow."
)


@dataclass
class Run:
    """What a run folder tells of its captioner; all of it may be missing.

    Attributes:
        settings: of the run itself and then of the runs it went on from, as far as their folders
            are still there.
        evaluations: entries of the log with a dev score, in their order.
        counts: split -> {"photos": ..., "captions": ...}.
        curve: the picture of the learning curve.
    """

    settings: list[dict] = field(default_factory=list)
    evaluations: list[dict] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    curve: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Raises ValueError for a settings file that is not JSON."""
        curve, counts = folder / CURVE, folder / DATA
        return cls(
            settings=list(_lineage(folder)),
            evaluations=[entry for entry in _entries(folder / LOG) if "eval_cider" in entry],
            counts=_read(counts) if counts.is_file() else {},
            curve=curve if curve.is_file() else None,
        )

    @property
    def origin(self) -> str | None:
        """The captioner or image encoder that it all began with, if that is known."""
        if not self.settings:
            return None
        return self.settings[-1].get("checkpoint") or self.settings[-1].get("encoder")


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error


def _entries(log: Path) -> Iterator[dict]:
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:  # a run that was killed as it wrote
            continue


def _lineage(folder: Path) -> Iterator[dict]:
    seen = set()
    while (folder / SETTINGS).is_file() and folder.resolve() not in seen:
        seen.add(folder.resolve())
        settings = _read(folder / SETTINGS)
        yield settings
        if not (checkpoint := settings.get("checkpoint")):
            return
        folder = Path(checkpoint).parent


def is_shipped(place: str | Path) -> bool:
    """Whether this is the captioner that ships with CaptionLens, here or in another checkout."""
    return PureWindowsPath(place).parts[-2:] == SHIPPED.parts[-2:]


def is_hub_id(place: str) -> bool:
    """Whether this names something of the hub; of a dataset also as `owner/name:configuration`."""
    return hub.is_hub_id(place.partition(":")[0]) and not Path(place).exists()


def public_name(place: str) -> str:
    """What strangers may know of a folder or hub id: the id, or the folder's own name."""
    if is_hub_id(place):
        return place
    if is_shipped(place):
        return "shipped"
    path = PureWindowsPath(place)  # which splits at both kinds of slash
    name = path.parent.name if path.name == BEST else path.name
    return "a folder" if path.parent.name in ("home", "Users") else name or "a folder"


def write_card(
    captioner: Captioner,
    name: str,
    run: Run,
    scores: dict | None = None,
    license: str = "other",
) -> str:
    """The whole card.

    name: what one gives `load`: hub id or folder name.
    scores: what `training.evaluate` wrote about this captioner.
    """
    sections = [
        f"---\n{_front_matter(run, license)}\n---",
        f"# {name.rpartition('/')[2]}",
        _what_it_is(captioner),
        "## What it learned from",
        *_learned_from(run),
        "## Scores",
        *_scores(captioner, name, run, scores),
        "## What has not been checked",
        _unchecked(captioner, scores),
        "## How to load it",
        _how_to_load(name),
        *_settings(run),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(run: Run, license: str) -> str:
    data = run.settings[0].get("data", "") if run.settings else ""
    base = run.origin
    return ModelCardData(
        license=license,
        library_name="captionlens",
        pipeline_tag="image-to-text",
        base_model=base if base and is_hub_id(base) else None,
        datasets=[data.partition(":")[0]] if is_hub_id(data) else None,
        tags=["captionlens", "image-captioning", "cross-attention"],
    ).to_yaml()


def _what_it_is(captioner: Captioner) -> str:
    config = captioner.config
    rows, columns = captioner.encoder.grid_size
    height, width = config.image_size
    millions = sum(p.numel() for p in captioner.parameters()) / 1e6
    return (
        "An image captioner for CaptionLens, which shows where each word of a "
        f"caption looked. Image encoder: {config.encoder['model_type']}, photos squashed to "
        f"{height} × {width} pixels, {rows} × {columns} patches. Text decoder: {config.num_layers} "
        f"layers, {config.num_heads} heads, width {config.width}, {config.vocab_size:,} tokens. "
        f"{millions:.1f} million parameters in half precision."
    )


def _learned_from(run: Run) -> Iterator[str]:
    if not run.settings:
        yield "Not recorded in the folder that was exported."
        return
    this, *earlier = run.settings
    said = [f"- This run: `{public_name(this.get('data', '?'))}`{_counts(run.counts)}"]
    said += [f"- Before that: `{public_name(s.get('data', '?'))}`" for s in earlier]
    origin = run.origin or "?"
    kind = "captioner" if run.settings[-1].get("checkpoint") else "image encoder"
    said.append(f"- It all began with the {kind} `{public_name(origin)}`")
    yield "\n".join(said)
    if is_shipped(origin):
        yield NON_COMMERCIAL


def _counts(counts: dict[str, dict[str, int]]) -> str:
    told = [
        f"{split}: {count['photos']:,} photos with {count['captions']:,} captions"
        for split, count in counts.items()
    ]
    return f" ({'; '.join(told)})" if told else ""


def _scores(captioner: Captioner, name: str, run: Run, scores: dict | None) -> Iterator[str]:
    if scores:
        rows = ["| | score | no image |", "|---|---|---|"]
        for metric in scores["made_with"]:
            rows.append(f"| {metric} | {scores[metric]:.1f} | {scores['no_image'][metric]:.1f} |")
        yield (
            f"`{public_name(scores['data'])}`, {scores['split']} split, {scores['num_images']:,} "
            f"photos, {_decoding(scores['decoding'])}. "
            '"No image": the same decoder when every photo\'s features are replaced by their '
            "mean; the difference is what looking at the photo is worth."
        )
        yield "\n".join(rows)
        made = sorted(
            {f"{m['implementation']}, {m['tokenizer']}" for m in scores["made_with"].values()}
        )
        yield f"Made with {'; '.join(made)}:"
        command = f"python -m training.evaluate --data DIR --split {scores['split']}"
        command += f" --checkpoint {shlex.quote(name)}"
        usual = captioner.options()
        for option in ("num_beams", "length_penalty"):
            if scores["decoding"].get(option) != getattr(usual, option):
                command += f" --{option.replace('_', '-')} {scores['decoding'].get(option)}"
        yield f"```sh\n{command}\n```"
    if run.evaluations:
        yield _course(run)
    if run.curve:
        yield f"![Learning curve]({CURVE})"
    if not scores and not run.evaluations:
        yield "None recorded; `python -m training.evaluate` makes them."


def _course(run: Run) -> str:
    """The dev score that chose these weights."""
    best = find_best(run.evaluations)
    settings = run.settings[0] if run.settings else {}
    photos = run.counts.get("dev", {}).get("photos")
    distinct = best.get("eval_distinct")
    return (
        f"While it trained: {describe_best(run.evaluations)} on "
        + (f"{photos:,} dev photos" if photos else "the dev photos")
        + f", {_decoding({'num_beams': settings.get('eval_beams', 1)})}"
        + f", after {best['epoch']:.1f} passes over the train photos"
        + (f"; {distinct:.0%} of these captions differ from each other" if distinct else "")
        + f". These weights were chosen by this score, the best of {len(run.evaluations)}: "
        "a little of it is chance."
    )


def _decoding(options: dict) -> str:
    beams = options.get("num_beams", 1)
    return "greedy decoding" if beams == 1 else f"beam search with {beams} beams"


def _unchecked(captioner: Captioner, scores: dict | None) -> str:
    unlike = (
        f"`{FAMILIARITY}` tells a photo that is unlike those it learned from, by and large"
        if captioner.familiarity
        else "and it cannot tell that they are"
    )
    said = [
        f"Photos unlike those it learned from: it will name what is nearest, {unlike}.",
        "What it says of people, and whom it is wrong about more often. Do not use it to decide "
        "anything about people.",
        "Whether the maps show why a word was chosen "
        "(`python -m training.evaluate_maps` measures that).",
    ]
    if not scores or scores["split"] != "test":
        said.append("Photos that no decision was made with: there is no score of a test split.")
    return "\n".join(f"- {line}" for line in said)


def _how_to_load(name: str) -> str:
    quoted = shlex.quote(name)
    return (
        "In a checkout of CaptionLens, with its requirements installed:\n\n"
        "```python\n"
        "from model import load\n\n"
        f"captioner = load({json.dumps(name, ensure_ascii=False)})\n"
        'print(captioner.caption("photo.jpg").text)\n'
        "```\n\n"
        "```sh\n"
        f"python -m model caption photo.jpg --checkpoint {quoted}\n"
        f"CAPTIONLENS_CHECKPOINT={quoted} python app.py   # the page\n"
        "```"
    )


def _settings(run: Run) -> Iterator[str]:
    if not run.settings:
        return
    rows = ["| `training.train` | |", "|---|---|"]
    for key, value in run.settings[0].items():
        if key in OF_THE_MACHINE or value is None or value is False:
            continue
        if isinstance(value, str) and (re.search(r"[/\\]", value) or key == "checkpoint"):
            value = public_name(value)
        told = "yes" if value is True else str(value).replace("|", "\\|")
        rows.append(f"| `--{key.replace('_', '-')}` | {told} |")
    yield "## Settings"
    yield "\n".join(rows)
