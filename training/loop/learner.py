"""What is learned: a captioner with its loss, and the average of its weights."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback

from model.captioner import Captioner
from training.data.dataset import IGNORED
from training.objectives.distillation import Distillation
from training.objectives.reward import CiderReward, self_critical_loss

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

    accepts_loss_kwargs = True  # the Trainer passes `num_items_in_batch`

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor,
        image: Tensor,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        teacher_map: Tensor | None = None,
        num_items_in_batch: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch as `training.data.dataset.collate` makes them.

        num_items_in_batch: (2,) labels and photos of the whole step, where this batch is a part
            of it: the losses and gradients of all parts, whatever their sizes, add up to those of
            the whole. This batch's own if None.
        """
        photos = len(tokens)
        if num_items_in_batch is None:
            num_items_in_batch = torch.stack([(labels != IGNORED).sum(), labels.new_tensor(photos)])
        all_labels, all_photos = num_items_in_batch
        encoder = self.captioner.encoder
        if image_features is None:
            image_features = encoder(pixel_values)
        loss = image_features.new_zeros(())
        if self.captions_weight:
            logits = self.captioner(tokens, image_features=image_features)
            said = F.cross_entropy(
                logits.flatten(0, 2).float(),
                labels.flatten(),
                ignore_index=IGNORED,
                label_smoothing=self.label_smoothing,
                reduction="sum",
            )
            loss = self.captions_weight * said / all_labels
        if self.reward:  # after the captions: it turns the decoder's dropout off
            rewarded = self_critical_loss(
                self.captioner, image_features, image, self.reward, self.samples
            )
            loss = loss + rewarded * photos / all_photos
        if self.distillation:
            patches = image_features[:, encoder.num_prefix_tokens :]
            taught = self.distillation(patches, encoder.kept_patches, teacher_map)
            loss = loss + self.distillation_weight * taught * photos / all_photos
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

    def save(self, checkpoint: str | Path) -> None:
        save_file(self.weights, Path(checkpoint, AVERAGE))

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
