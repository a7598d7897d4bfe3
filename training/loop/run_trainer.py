"""transformers' Trainer with checkpoints of which one that was cut off can be told."""

from pathlib import Path

from transformers import Trainer

from training.loop.checkpoints import report_write_errors, write_checksums
from training.loop.learner import WeightAverage


class RunTrainer(Trainer):
    """The Trainer of all runs. Checksums stand beside the weights, and the average does where a run
    keeps one; a checkpoint that cannot be written is an error of one line."""

    average: WeightAverage | None = None

    def save_model(self, output_dir=None, _internal_call=False):
        """The average is saved with the weights, before older checkpoints are deleted."""
        super().save_model(output_dir, _internal_call)
        if self.is_world_process_zero():
            if self.average is not None:
                self.average.save(output_dir)
            write_checksums(Path(output_dir))

    def _save_checkpoint(self, *args, **kwargs):
        with report_write_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **kwargs)
