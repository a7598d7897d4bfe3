"""The course of a run, as it goes: its log, its learning curve, and whether it has collapsed."""

import json
from pathlib import Path

from transformers import TrainerCallback

from training.run_folder import CURVE, LOG, write_whole

ENOUGH = 10  # dev photos, below which one caption for all may be right
BEGINNING = 3  # evaluations before which a run may say the same of all photos
UNENDING = 0.5  # share of captions that only the longest length ends


class Collapse(ValueError):
    """A run that learns nothing any more; the message is one line that says what to do."""


class Course(TrainerCallback):
    """Writes the log and the curve into the run folder, and stops a run that has collapsed.

    Both are drawn from the Trainer's own history, which a resumed run takes up where it was.

    Args:
        dev_photos: how many photos are captioned at an evaluation.
    """

    def __init__(self, output: Path, dev_photos: int):
        self.output, self.dev_photos = output, dev_photos

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
                lambda e: e["eval_distinct"] * self.dev_photos < 1.5,
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
    """A picture of loss and dev CIDEr by pass over the photos, from a Trainer's log history."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left = figure.add_subplot()
    right = left.twinx()
    for axis, key, label, colour, marker in (
        (left, "loss", "training loss", "#7a8190", ""),
        (right, "eval_cider", "dev CIDEr", "#c2410c", "o"),
    ):
        entries = [e for e in history if key in e]
        axis.plot(
            [e["epoch"] for e in entries], [e[key] for e in entries], color=colour, marker=marker
        )
        axis.set_ylabel(label, color=colour)
        axis.tick_params(axis="y", colors=colour)
        axis.spines["top"].set_visible(False)
    if scores := [e for e in history if "eval_cider" in e]:
        best = max(scores, key=lambda e: e["eval_cider"])
        right.annotate(
            f"{best['eval_cider']:.1f}",
            (best["epoch"], best["eval_cider"]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color="#c2410c",
        )
        right.set_ylim(0, 1.15 * max(best["eval_cider"], 1))  # room for the number
    left.set_xlabel("passes over the train photos")
    figure.savefig(path)
