"""What is learned: a captioner with its loss, the average of its weights, and the rates."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback

from model.captioner import Captioner
from training.distillation import Distillation
from training.examples import IGNORED
from training.reward import CiderReward, self_critical_loss

AVERAGE = "average.safetensors"


class Learner(nn.Module):
    """A captioner and the loss of a batch: its `forward` is what the Trainer calls.

    Args:
        label_smoothing: share of the target given to all other tokens.
        reward, samples: draw so many captions a photo and learn from their reward.
        captions_weight: of the loss of the captions that people wrote; a reward comes beside it.
        distillation, distillation_weight: a teacher's loss, and its part in the whole.
    """

    def __init__(
        self,
        captioner: Captioner,
        label_smoothing: float,
        reward: CiderReward | None = None,
        samples: int = 5,
        captions_weight: float = 1.0,
        distillation: Distillation | None = None,
        distillation_weight: float = 1.0,
    ):
        super().__init__()
        self.captioner = captioner
        self.label_smoothing, self.reward, self.samples = label_smoothing, reward, samples
        self.captions_weight = captions_weight
        self.distillation, self.distillation_weight = distillation, distillation_weight

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor,
        image: Tensor,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        teacher_map: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch as `training.data.collate` makes them."""
        encoder = self.captioner.encoder
        if image_features is None:
            image_features = encoder(pixel_values)
        loss = image_features.new_zeros(())
        if self.captions_weight:
            logits = self.captioner(tokens, image_features=image_features)
            loss = self.captions_weight * F.cross_entropy(
                logits.flatten(0, 2).float(),
                labels.flatten(),
                ignore_index=IGNORED,
                label_smoothing=self.label_smoothing,
            )
        if self.reward:  # after the captions: it turns the decoder's dropout off
            loss = loss + self_critical_loss(
                self.captioner, image_features, image, self.reward, self.samples
            )
        if self.distillation:
            patches = image_features[:, encoder.num_prefix_tokens :]
            taught = self.distillation(patches, encoder.kept_patches, teacher_map)
            loss = loss + self.distillation_weight * taught
        return {"loss": loss}


class Average(TrainerCallback):
    """Exponential moving average of the trained weights: what is evaluated and shipped."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {
            name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad
        }

    def on_step_end(self, args, state, control, model=None, **kwargs):
        # early on, a short memory: the start is not worth remembering
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    self.weights[name].lerp_(p.detach(), 1 - decay)

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            path = Path(args.output_dir, f"checkpoint-{state.global_step}", AVERAGE)
            save_file(self.weights, path.with_suffix(".unfinished"))
            path.with_suffix(".unfinished").rename(path)

    def load(self, checkpoint: str) -> None:
        for name, weight in load_file(Path(checkpoint, AVERAGE)).items():
            self.weights[name].copy_(weight)

    def swap(self, model: nn.Module) -> None:
        """Exchange the model's weights and the averages; a second call undoes it."""
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    now = p.detach().clone()
                    p.copy_(self.weights[name])
                    self.weights[name] = now


def parameter_groups(learner: Learner, settings: argparse.Namespace) -> list[dict]:
    """Two rates (encoder, all else), and weight decay for matrices alone."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, p in learner.named_parameters():
        if not p.requires_grad:
            continue
        of_encoder = name.startswith("captioner.encoder.")
        rate = settings.encoder_rate if of_encoder else settings.rate
        decay = settings.weight_decay if p.dim() > 1 else 0.0
        groups.setdefault((rate, decay), []).append(p)
    return [{"params": p, "lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()]
