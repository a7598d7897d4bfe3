"""Callbacks of a run: its log, its learning curve, and the detection of a collapse."""

import json
from pathlib import Path

from transformers import TrainerCallback

from model.errors import RunError
from training.data.dataset import CaptionDataset
from training.loop.run_folder import CURVE, LOG, write_atomically

MIN_DEV_PHOTOS = 10  # with fewer, one caption for all of them may be right
GRACE_EVALUATIONS = 3  # before a run that never worked counts as collapsed
MAX_UNENDING = 0.5  # fraction of captions that only the maximum length ends


def compute_selection_score(cider: float, loss: float) -> float:
    """The score that chooses the best checkpoint: dev CIDEr, and the dev loss on a tie.

    CIDEr is 0 for every caption of too few dev photos, and for all captions early in a run: alone
    it would choose the first checkpoint.
    """
    return cider - 1e-6 * loss  # less than any difference in CIDEr


def find_best(history: list[dict]) -> dict | None:
    """The entry of the best evaluation in a Trainer's log history; None before the first."""
    # runs of older versions have no eval_loss
    return max(
        (entry for entry in history if "eval_cider" in entry),
        key=lambda entry: compute_selection_score(entry["eval_cider"], entry.get("eval_loss", 0)),
        default=None,
    )


def describe_best(history: list[dict]) -> str:
    """The dev score of the best evaluation, the one that it was chosen by."""
    best = find_best(history)
    if best["eval_cider"] > 0 or "eval_loss" not in best:
        return f"dev CIDEr {best['eval_cider']:.1f}"
    return f"dev loss {best['eval_loss']:.3f} (dev CIDEr was 0 throughout)"


class CollapseError(RunError):
    """A run that learns nothing any more; the message is one line with advice."""


class EpochCallback(TrainerCallback):
    """Tells the train photos which epoch this is. (accelerate would, but not after resuming in the
    middle of an epoch, and not in several processes.)"""

    def __init__(self, photos: CaptionDataset):
        self.photos = photos

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.photos.epoch = int(state.epoch or 0)


class RunMonitor(TrainerCallback):
    """Writes the log and the curve into the run folder, and stops a run that has collapsed.

    Both come from the Trainer's own history, which a resumed run continues.

    Args:
        output: the run folder.
        num_dev_photos: how many photos are captioned at an evaluation.
        same_references: whether people wrote the same about all of them, so that one caption for
            all may be right.
    """

    def __init__(self, output: Path, num_dev_photos: int, same_references: bool = False):
        self.output, self.num_dev_photos = output, num_dev_photos
        self.same_references = same_references

    def on_log(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            lines = "".join(json.dumps(entry) + "\n" for entry in state.log_history)
            write_atomically(self.output / LOG, lines)

    def on_evaluate(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            draw_curve(state.log_history, self.output / CURVE)
        evaluations = [entry for entry in state.log_history if "eval_cider" in entry]
        if reason := self.find_collapse(evaluations):
            raise CollapseError(reason)

    def find_collapse(self, evaluations: list[dict]) -> str | None:
        """Why a run with these evaluations should stop; None if it should continue."""
        if self.num_dev_photos < MIN_DEV_PHOTOS:
            return None
        one_caption = [e["eval_distinct"] * self.num_dev_photos < 1.5 for e in evaluations]
        unending = [e["eval_unending"] > MAX_UNENDING for e in evaluations]
        if not self.same_references and has_stayed_bad(one_caption):
            problem = "every dev photo gets the same caption: the decoder does not look at photos"
        elif has_stayed_bad(unending):
            problem = "most captions never end: the decoder has not learned where a sentence ends"
        else:
            return None
        return (
            f"{problem}. Try a lower --rate or --encoder-rate, or more photos; "
            f"{self.output / CURVE} shows the learning curve, and a new run needs another --output"
        )


def has_stayed_bad(is_bad: list[bool]) -> bool:
    """Whether the last evaluations are bad: one of them, or three in a run that was never good."""
    num_allowed = GRACE_EVALUATIONS if all(is_bad) else 1
    return len(is_bad) >= num_allowed and all(is_bad[-num_allowed:])


def draw_curve(history: list[dict], path: Path) -> None:
    """Draw the training loss and dev CIDEr (the dev loss, where CIDEr is always 0) by epoch, from a
    Trainer's log history."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    right = left.twinx()
    best = find_best(history)
    by_loss = best is not None and best["eval_cider"] == 0 and "eval_loss" in best
    dev, dev_label = ("eval_loss", "dev loss") if by_loss else ("eval_cider", "dev CIDEr")
    for axis, key, label, colour, marker in (
        (left, "loss", "training loss", "#7a8190", ""),
        (right, dev, dev_label, "#c2410c", "o"),
    ):
        entries = [e for e in history if key in e]
        axis.plot(
            [e["epoch"] for e in entries], [e[key] for e in entries], color=colour, marker=marker
        )
        axis.set_ylabel(label, color=colour)
        axis.tick_params(axis="y", colors=colour)
        axis.spines["top"].set_visible(False)
    if best:
        right.annotate(
            f"{best[dev]:.3f}" if by_loss else f"{best[dev]:.1f}",
            (best["epoch"], best[dev]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color="#c2410c",
        )
        if not by_loss:
            right.set_ylim(0, 1.15 * max(best["eval_cider"], 1))  # room for the number
    left.set_xlabel("passes over the train photos")
    figure.savefig(path)
