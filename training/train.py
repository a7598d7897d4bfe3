"""Train a captioner: `python -m training.train --data DIR --output DIR`.

`training/settings.py` has the options, `training/loop/preparation.py` puts a run together, and
`training/loop/trainer.py` has the loop.
"""

import sys

from model.error_reporting import report_errors
from training.loop.callbacks import describe_best
from training.loop.checkpoints import check_encoder_order, read_run_state
from training.loop.preparation import PreparedRun, prepare_run
from training.loop.run_folder import BEST
from training.settings import TrainingSettings, parse_settings


def train(settings: TrainingSettings) -> None:
    """Start, or resume, the run that the settings describe.

    Raises CaptionLensError or OSError, each with a message for the user.
    """
    run = prepare_run(settings)
    ended, history = resume_run(run, settings.patience)
    if not ended:
        history = run_training(run)
    if run.trainer.is_world_process_zero():
        print(f"best {describe_best(history)}; the captioner is in {run.output / BEST}")


def resume_run(run: PreparedRun, patience: int) -> tuple[bool, list[dict]]:
    """Restore the average and the best score of the last checkpoint, if there is one.

    Returns:
        Whether the run has ended already, and its log history.

    Raises OptionError for a run of an earlier version that this one cannot go on with.
    """
    if not run.last_checkpoint:
        return False, []
    network = run.trainer.model.network
    run.trainer.average.load(run.last_checkpoint, network)
    state = read_run_state(run.last_checkpoint)
    stopped_early = state.evaluations_without_gain >= patience
    ended = stopped_early or state.is_finished
    if not ended:
        check_encoder_order(run.last_checkpoint, network)
    if state.best_score is not None:
        run.trainer.best_score = state.best_score
    if run.trainer.is_world_process_zero():
        status = "resuming from"
        if stopped_early:
            status = "stopped early at"
        elif state.is_finished:
            status = "finished at"
        print(f"{status} {run.last_checkpoint}")
    return ended, state.history


def run_training(run: PreparedRun) -> list[dict]:
    """Train to the end; returns the log history."""
    try:
        run.trainer.train(resume_from_checkpoint=run.last_checkpoint)
    except BaseException:
        print(file=sys.stderr)  # ends the line of the progress bar
        raise
    return run.trainer.state.log_history


@report_errors
def main(arguments: list[str] | None = None) -> int:
    try:
        train(parse_settings(arguments))
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
