"""The course of a run, as it goes: its log, its learning curve, which evaluation was the best, and
whether the run has collapsed."""

import json
from pathlib import Path

from transformers import TrainerCallback

from model.errors import RunError
from training.loop.run_folder import CURVE, LOG, write_whole

ENOUGH = 10  # dev photos, below which one caption for all may be right
BEGINNING = 3  # evaluations before which a run may say the same of all photos
UNENDING = 0.5  # share of captions that only the longest length ends


def compute_selection_score(cider: float, loss: float) -> float:
    """What the best checkpoint is chosen by: dev CIDEr, and the dev loss where it is the same.

    CIDEr is 0 for every caption of too few dev photos, and for all captions of a run that has not
    begun to speak: it alone would take the first checkpoint for the best.
    """
    return cider - 1e-6 * loss  # less than what a different CIDEr differs by


def find_best(history: list[dict]) -> dict | None:
    """The entry of the best evaluation in a Trainer's log history, if there is one yet."""
    # without a loss: of a run that began before the loss was computed
    return max(
        (entry for entry in history if "eval_cider" in entry),
        key=lambda entry: compute_selection_score(entry["eval_cider"], entry.get("eval_loss", 0)),
        default=None,
    )


def describe_best(history: list[dict]) -> str:
    """The best evaluation's dev score: that which it was chosen by."""
    best = find_best(history)
    if best["eval_cider"] > 0 or "eval_loss" not in best:
        return f"dev CIDEr {best['eval_cider']:.1f}"
    return f"dev loss {best['eval_loss']:.3f} (dev CIDEr was 0 throughout)"


class Collapse(RunError):
    """A run that learns nothing any more; the message is one line that says what to do."""


class Course(TrainerCallback):
    """Writes the log and the curve into the run folder, and stops a run that has collapsed.

    Both are drawn from the Trainer's own history, which a resumed run takes up where it was.

    Args:
        dev_photos: how many photos are captioned at an evaluation.
        one_caption_is_right: people say the same of all of them, so a captioner may too.
    """

    def __init__(self, output: Path, dev_photos: int, one_caption_is_right: bool = False):
        self.output, self.dev_photos = output, dev_photos
        self.one_caption_is_right = one_caption_is_right

    def on_log(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            lines = "".join(json.dumps(entry) + "\n" for entry in state.log_history)
            write_whole(self.output / LOG, lines)

    def on_evaluate(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            draw_curve(state.log_history, self.output / CURVE)
        evaluations = [entry for entry in state.log_history if "eval_cider" in entry]
        if reason := self.collapsed(evaluations):
            raise Collapse(reason)

    def collapsed(self, evaluations: list[dict]) -> str | None:
        """Why a run with these evaluations should stop, if it should."""
        if self.dev_photos < ENOUGH:
            return None
        for is_bad, what in (
            (
                lambda e: (
                    e["eval_distinct"] * self.dev_photos < 1.5 and not self.one_caption_is_right
                ),
                "every dev photo gets the same caption: the decoder does not look at photos",
            ),
            (
                lambda e: e["eval_unending"] > UNENDING,
                "most captions never end: the decoder does not know how a sentence goes",
            ),
        ):
            bad = [is_bad(entry) for entry in evaluations]
            # who has told photos apart may not stop; until then, some time to begin
            allowed = BEGINNING if all(bad) else 1
            if len(bad) >= allowed and all(bad[-allowed:]):
                return (
                    f"{what}. Take a lower --rate or --encoder-rate, or more photos; "
                    f"{self.output / CURVE} shows the course, and a new run needs another --output"
                )
        return None


def draw_curve(history: list[dict], path: Path) -> None:
    """A picture of the training loss and dev CIDEr (the dev loss, where CIDEr is always 0) by pass
    over the photos, from a Trainer's log history."""
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
