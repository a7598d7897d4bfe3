"""transformers' Trainer for captions: losses over a whole step, two rates, dev CIDEr."""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import Trainer, TrainerCallback

from model import Captioner, CheckpointError
from model.tokenizer import as_sentence
from training.data import CaptionedImage
from training.evaluate import caption_split
from training.examples import IGNORED, CaptionDataset
from training.learner import Average
from training.metrics import cider_scores
from training.parts import merged, parameter_groups
from training.run_folder import BEST

SAMPLES_SHOWN = 3


class CaptionTrainer(Trainer):
    """The training loop. Resuming, mixed precision, several processes are the Trainer's.

    Args:
        settings: as `training.options.parse` gives them.
        average: the weights that are evaluated and kept.
        dev: photos to be captioned at each evaluation; each process takes its part of them.
        dev_features: (1, photos, S, image_width) where the encoder is frozen.
    """

    def __init__(
        self,
        *args,
        settings: argparse.Namespace,
        average: Average,
        dev: list[CaptionedImage],
        dev_features: np.ndarray | None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.add_callback(average)
        self.add_callback(Passes(self.train_dataset))
        self.settings, self.average = settings, average
        self.dev, self.dev_features = dev, dev_features
        self.best = -1.0
        self._seconds = self._photos = 0.0  # spent on steps since the last log, and learned from

    def save_model(self, output_dir=None, _internal_call=False):
        """The average goes with the weights, before older checkpoints are deleted."""
        super().save_model(output_dir, _internal_call)
        if self.is_world_process_zero():
            self.average.save(output_dir)

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(
                parameter_groups(self.model, self.settings), betas=(0.9, 0.98)
            )
        return self.optimizer

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """The parts of a step, and (labels, photos) in all of them over all processes."""
        self._began = time.monotonic()
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = torch.tensor(
            [
                sum(int((batch["labels"] != IGNORED).sum()) for batch in batches),
                sum(len(batch["labels"]) for batch in batches),
            ],
            device=device,
        )
        counts = self.accelerator.gather(counts[None]).sum(0)
        self._photos += int(counts[1])
        return batches, counts

    def training_step(self, model, inputs, num_items_in_batch=None):
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise self._diverged(f"the loss is {loss.item()}")
        now = time.monotonic()
        self._seconds, self._began = self._seconds + now - self._began, now
        return loss

    def _diverged(self, what: str) -> ValueError:
        return ValueError(
            f"{what} at step {self.state.global_step + 1}: take a lower --rate or --encoder-rate, "
            "or --fp32, and another --output"
        )

    def log(self, logs, start_time=None):
        if "loss" in logs and self._seconds:
            logs["images_per_second"] = round(self._photos / self._seconds, 2)
            self._seconds = self._photos = 0.0
        super().log(logs, start_time)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Caption the dev photos with the averaged weights; keep the captioner if it is better."""
        learner = self.accelerator.unwrap_model(self.model)
        learner.eval()
        self.average.swap(learner)
        try:
            scores = self._score(learner.captioner)
            if scores["eval_cider"] > self.best:
                self.best = scores["eval_cider"]
                if self.is_world_process_zero():
                    plain = merged(learner.captioner)
                    try:
                        keep(plain, Path(self.args.output_dir, BEST))
                    except CheckpointError as error:
                        raise self._diverged("the weights cannot be kept") from error
        finally:
            self.average.swap(learner)
        self.log(scores)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, scores
        )
        return scores

    def _score(self, captioner: Captioner) -> dict[str, float]:
        mine = slice(self.args.process_index, None, self.args.world_size)
        features = None if self.dev_features is None else self.dev_features[0, mine]
        written = {}
        if self.dev[mine]:
            with torch.autocast(captioner.device.type, torch.bfloat16, self.args.bf16):
                captions, _ = caption_split(
                    captioner,
                    self.dev[mine],
                    features,
                    batch_size=32,
                    num_beams=self.settings.eval_beams,
                )
            written = {name: (c.text, len(c.tokens)) for name, c in captions.items()}
        written = dict(gather_object(list(written.items())))
        texts = {name: text for name, (text, _) in written.items()}
        longest = captioner.options().max_length

        def unending(item: CaptionedImage) -> bool:
            if written[item.name][1] < longest:
                return False
            # unless people's captions are as long
            encode = captioner.tokenizer.encode
            return min(len(encode(as_sentence(c))[0]) for c in item.captions) < longest

        if self.is_world_process_zero():
            for item in self.dev[:SAMPLES_SHOWN]:
                tqdm.write(f"  {item.name}: {texts[item.name]}")
        references = {item.name: item.captions for item in self.dev}
        return {
            "eval_cider": float(np.mean(cider_scores(texts, references))),
            "eval_distinct": len(set(texts.values())) / len(texts),
            "eval_unending": sum(map(unending, self.dev)) / len(self.dev),
        }


class Passes(TrainerCallback):
    """Tells the train photos which pass this is. (accelerate would, but not in the rest of a pass
    that is resumed, and not to several processes.)"""

    def __init__(self, photos: CaptionDataset):
        self.photos = photos

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.photos.epoch = int(state.epoch or 0)


def keep(captioner: Captioner, folder: Path) -> None:
    """Put a captioner into the place of another, which stays until the new one is whole."""
    new, old = (folder.with_name(f"{folder.name}.{age}") for age in ("new", "old"))
    captioner.save_pretrained(new)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
