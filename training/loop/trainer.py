"""transformers' Trainer for captions: losses over a whole step, two rates, dev CIDEr and loss."""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from torch import Tensor
from tqdm import tqdm
from transformers import Trainer, TrainerCallback

from model import Captioner
from model.errors import CheckpointError, RunError
from model.network.tokenizer import as_sentence
from training.data import CaptionedImage
from training.data.dataset import IGNORED, CaptionDataset, collate_captions, encode_caption
from training.evaluate import encode_batches
from training.evaluation.metrics import cider_scores
from training.loop.callbacks import compute_selection_score
from training.loop.checkpoints import name_write_errors, write_checksums
from training.loop.learner import Average
from training.loop.run_folder import BEST
from training.loop.trainable_parameters import merged, parameter_groups

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
        self.best = float("-inf")  # selection score
        self._seconds = self._photos = 0.0  # spent on steps since the last log, and learned from

    def save_model(self, output_dir=None, _internal_call=False):
        """The average goes with the weights, before older checkpoints are deleted."""
        super().save_model(output_dir, _internal_call)
        if self.is_world_process_zero():
            self.average.save(output_dir)
            write_checksums(Path(output_dir))

    def _save_checkpoint(self, *args, **kwargs):
        with name_write_errors(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **kwargs)

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

    def _diverged(self, what: str) -> RunError:
        return RunError(
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
            if not np.isfinite(scores["eval_loss"]):
                raise self._diverged(f"the dev loss is {scores['eval_loss']}")
            if scores["eval_selection_score"] > self.best:
                self.best = scores["eval_selection_score"]
                if self.is_world_process_zero():
                    plain = merged(learner.captioner)
                    best = Path(self.args.output_dir, BEST)
                    try:
                        with name_write_errors(best):
                            keep(plain, best)
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
        results = []  # (name, (caption, its tokens, loss of the references, their labels)) a photo
        with torch.autocast(captioner.device.type, torch.bfloat16, self.args.bf16):
            for batch, encoded in encode_batches(captioner, self.dev[mine], features, 32):
                captions = captioner.captions(encoded, num_beams=self.settings.eval_beams)
                for item, (caption, *_), photo in zip(batch, captions, encoded, strict=True):
                    loss, labels = sum_losses(captioner, photo, item.captions)
                    results.append((item.name, (caption.text, len(caption.tokens), loss, labels)))
        results = dict(gather_object(results))
        texts = {name: text for name, (text, _, _, _) in results.items()}
        longest = captioner.options().max_length

        def unending(item: CaptionedImage) -> bool:
            if results[item.name][1] < longest:
                return False
            # unless people's captions are as long
            encode = captioner.tokenizer.encode
            return min(len(encode(as_sentence(c))[0]) for c in item.captions) < longest

        if self.is_world_process_zero():
            for item in self.dev[:SAMPLES_SHOWN]:
                tqdm.write(f"  {item.name}: {texts[item.name]}")
        references = {item.name: item.captions for item in self.dev}
        cider = float(np.mean(cider_scores(texts, references)))
        loss = sum(r[2] for r in results.values()) / sum(r[3] for r in results.values())
        selection_score = compute_selection_score(cider, loss)
        if cider == 0 and self.best <= 0 and self.is_world_process_zero():
            tqdm.write(f"  dev CIDEr is 0, so the dev loss decides which is best: {loss:.3f}")
        return {
            "eval_cider": cider,
            "eval_loss": loss,
            "eval_selection_score": selection_score,
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


@torch.no_grad()
def sum_losses(
    captioner: Captioner, image_features: Tensor, captions: list[str]
) -> tuple[float, int]:
    """The cross-entropy of one photo's captions, summed over their tokens, and how many these are.

    image_features: (S, image_width) of the photo.
    """
    longest = captioner.config.max_length
    encoded = [encode_caption(c, captioner.tokenizer, longest) for c in captions]
    tokens, labels = (t.to(image_features.device) for t in collate_captions([encoded]))
    logits = captioner(tokens, image_features=image_features[None])  # (1, captions, T, vocabulary)
    loss = F.cross_entropy(
        logits.flatten(0, 2).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return loss.item(), int((labels != IGNORED).sum())


def keep(captioner: Captioner, folder: Path) -> None:
    """Put a captioner into the place of another, which stays until the new one is whole."""
    new, old = (folder.with_name(f"{folder.name}.{age}") for age in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)  # of a run that was killed here
    captioner.save_pretrained(new)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def restore_best(folder: Path) -> None:
    """Put back what `keep` had moved away when the run was killed between its two renames."""
    old = folder.with_name(f"{folder.name}.old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)
