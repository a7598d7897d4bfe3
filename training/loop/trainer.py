"""transformers' Trainer for captions: losses over a whole step, two rates, dev CIDEr and loss."""

import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from torch import Tensor
from tqdm import tqdm

from model.checkpoint.native import write_checkpoint
from model.errors import CheckpointError, RunError
from model.network.network import Network
from model.network.tokenizer import as_sentence
from model.search.generation import choose_options, write_captions
from training.data import CaptionedImage
from training.data.dataset import IGNORED, collate_captions, encode_caption
from training.evaluation.captioning import encode_batches
from training.evaluation.metrics import compute_cider_scores
from training.loop.callbacks import EpochCallback, compute_selection_score
from training.loop.checkpoints import report_write_errors
from training.loop.learner import WeightAverage
from training.loop.run_folder import BEST
from training.loop.run_trainer import RunTrainer
from training.loop.trainable_parameters import merge_adapters

NUM_SAMPLES_SHOWN = 3
EVALUATION_BATCH = 32  # photos


class DevResult(NamedTuple):
    """What an evaluation finds out about a dev photo.

    Attributes:
        caption: what the network writes; num_tokens: its length with the end token.
        loss: cross-entropy of the references, summed over their num_labels tokens.
    """

    caption: str
    num_tokens: int
    loss: float
    num_labels: int


class CaptionTrainer(RunTrainer):
    """The training loop. Resuming, mixed precision and several processes are the Trainer's.

    Args:
        parameter_groups: for the optimizer.
        average: the weights that are evaluated and saved as best.
        dev: photos that are captioned at each evaluation, shared out among the processes.
        dev_features: (1, photos, S, image_width) where the encoder is frozen.
        eval_beams: beams when the dev photos are captioned.
    """

    def __init__(
        self,
        *args,
        parameter_groups: list[dict],
        average: WeightAverage,
        dev: list[CaptionedImage],
        dev_features: np.ndarray | None,
        eval_beams: int,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.add_callback(average)
        self.add_callback(EpochCallback(self.train_dataset))
        self.parameter_groups, self.average = parameter_groups, average
        self.dev, self.dev_features, self.eval_beams = dev, dev_features, eval_beams
        self.best_score = float("-inf")  # selection score
        self._seconds = self._photos = 0.0  # of the steps since the last log

    def create_optimizer(self, model=None):
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(self.parameter_groups, betas=(0.9, 0.98))
        return self.optimizer

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """The parts of a step, and (labels, photos) in all of them over all processes."""
        self._step_start = time.monotonic()
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
            raise self._make_divergence_error(f"the loss is {loss.item()}")
        now = time.monotonic()
        self._seconds, self._step_start = self._seconds + now - self._step_start, now
        return loss

    def _make_divergence_error(self, problem: str) -> RunError:
        """The error of a run whose loss or weights are no longer numbers."""
        return RunError(
            f"{problem} at step {self.state.global_step + 1}: try a lower --rate or "
            "--encoder-rate, or --fp32, and another --output"
        )

    def log(self, logs, start_time=None):
        if "loss" in logs and self._seconds:
            logs["images_per_second"] = round(self._photos / self._seconds, 2)
            self._seconds = self._photos = 0.0
        super().log(logs, start_time)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Caption the dev photos with the averaged weights; save the captioner if it is better."""
        learner = self.accelerator.unwrap_model(self.model)
        learner.eval()
        self.average.swap_weights(learner)
        try:
            scores = self._score(learner.network)
            if not np.isfinite(scores["eval_loss"]):
                raise self._make_divergence_error(f"the dev loss is {scores['eval_loss']}")
            if scores["eval_selection_score"] > self.best_score:
                self.best_score = scores["eval_selection_score"]
                if self.is_world_process_zero():
                    self._save_best(learner.network)
        finally:
            self.average.swap_weights(learner)
        self.log(scores)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, scores
        )
        return scores

    def _save_best(self, network: Network) -> None:
        folder = Path(self.args.output_dir, BEST)
        try:
            with report_write_errors(folder):
                replace_checkpoint(merge_adapters(network), folder)
        except CheckpointError as error:
            raise self._make_divergence_error("the weights cannot be saved") from error

    def _score(self, network: Network) -> dict[str, float]:
        """The scores of an evaluation, by their names in the Trainer's log."""
        results = dict(gather_object(list(self._caption_dev_photos(network).items())))
        captions = {name: result.caption for name, result in results.items()}
        if self.is_world_process_zero():
            for item in self.dev[:NUM_SAMPLES_SHOWN]:
                tqdm.write(f"  {item.name}: {captions[item.name]}")
        ciders = {
            corpus: float(np.mean(compute_cider_scores({n: captions[n] for n in refs}, refs)))
            for corpus, refs in group_references(self.dev).items()
        }
        cider = float(np.mean(list(ciders.values())))
        num_labels = sum(result.num_labels for result in results.values())
        loss = sum(result.loss for result in results.values()) / num_labels
        if cider == 0 and self.best_score <= 0 and self.is_world_process_zero():
            tqdm.write(f"  dev CIDEr is 0, so the dev loss decides which is best: {loss:.3f}")
        unending = [is_unending(network, item, results[item.name]) for item in self.dev]
        of_each = {f"eval_cider_{corpus}": score for corpus, score in ciders.items() if corpus}
        return {
            "eval_cider": cider,
            **of_each,
            "eval_loss": loss,
            "eval_selection_score": compute_selection_score(cider, loss),
            "eval_distinct": len(set(captions.values())) / len(captions),
            "eval_unending": sum(unending) / len(self.dev),
        }

    def _caption_dev_photos(self, network: Network) -> dict[str, DevResult]:
        """The results of this process's dev photos, by name."""
        own_part = slice(self.args.process_index, None, self.args.world_size)
        items = self.dev[own_part]
        features = None if self.dev_features is None else self.dev_features[0, own_part]
        options = choose_options(network.config, num_beams=self.eval_beams)
        results = {}
        with torch.autocast(network.device.type, torch.bfloat16, self.args.bf16):
            for batch, encoded in encode_batches(network, items, features, EVALUATION_BATCH):
                captions = write_captions(network, encoded, options)
                for item, (caption, *_), photo in zip(batch, captions, encoded, strict=True):
                    results[item.name] = DevResult(
                        caption.text,
                        len(caption.tokens),
                        *sum_losses(network, photo, item.captions),
                    )
        return results


def group_references(items: list[CaptionedImage]) -> dict[str, dict[str, list[str]]]:
    """The captions of each corpus's photos by their names: what is rare depends on who wrote."""
    references: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for item in items:
        references[item.corpus][item.name] = item.captions
    return references


def is_unending(network: Network, item: CaptionedImage, result: DevResult) -> bool:
    """Whether only the maximum length ended a caption, where the references are not as long."""
    max_length = choose_options(network.config).max_length
    if result.num_tokens < max_length:
        return False
    encode = network.tokenizer.encode
    return min(len(encode(as_sentence(text))[0]) for text in item.captions) < max_length


@torch.no_grad()
def sum_losses(network: Network, image_features: Tensor, captions: list[str]) -> tuple[float, int]:
    """The cross-entropy of a photo's captions, summed over their tokens, and how many these are.

    image_features: (S, image_width) of the photo.
    """
    max_length = network.config.max_length
    encoded = [encode_caption(caption, network.tokenizer, max_length) for caption in captions]
    tokens, labels = (t.to(image_features.device) for t in collate_captions([encoded]))
    logits = network(tokens, image_features=image_features[None])  # (1, captions, T, vocab_size)
    loss = F.cross_entropy(
        logits.flatten(0, 2).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return loss.item(), int((labels != IGNORED).sum())


def replace_checkpoint(network: Network, folder: Path) -> None:
    """Save a network into a folder in place of another; see `replace_folder`."""
    replace_folder(partial(write_checkpoint, network, None), folder)


def replace_folder(write: Callable[[Path], object], folder: Path) -> None:
    """Write a folder in place of another, which stays until the new one is complete."""
    new_folder, old_folder = (folder.with_name(f"{folder.name}.{age}") for age in ("new", "old"))
    shutil.rmtree(new_folder, ignore_errors=True)  # of a run that was killed here
    write(new_folder)
    shutil.rmtree(old_folder, ignore_errors=True)
    if folder.exists():
        folder.rename(old_folder)
    new_folder.rename(folder)
    shutil.rmtree(old_folder, ignore_errors=True)


def restore_checkpoint(folder: Path) -> None:
    """Undo `replace_folder` where the run was killed between its two renames."""
    old_folder = folder.with_name(f"{folder.name}.old")
    if old_folder.is_dir() and not folder.exists():
        old_folder.rename(folder)
