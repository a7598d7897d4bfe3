"""The network with its loss, and the moving average of its weights."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback

from model.network.network import Network
from training.data.dataset import IGNORED
from training.loop.run_folder import AVERAGE
from training.objectives.distillation import DistillationLoss
from training.objectives.reward import CiderReward, compute_self_critical_loss


class Learner(nn.Module):
    """A network and the loss of a batch: its `forward` is what the Trainer calls.

    Args:
        network: what is trained. It is held as `captioner`: its weights have this prefix in the
            checkpoints of runs.
        label_smoothing: probability given to all other tokens in the target.
        reward, samples: sample this many captions a photo and learn from their reward.
        captions_weight: weight of the loss of the captions that people wrote.
        distillation, distillation_weight: a teacher's loss, and its weight.
    """

    accepts_loss_kwargs = True  # the Trainer passes `num_items_in_batch`

    def __init__(
        self,
        network: Network,
        label_smoothing: float,
        reward: CiderReward | None = None,
        samples: int = 5,
        captions_weight: float = 1.0,
        distillation: DistillationLoss | None = None,
        distillation_weight: float = 1.0,
    ):
        super().__init__()
        self.captioner = network
        self.label_smoothing, self.reward, self.samples = label_smoothing, reward, samples
        self.captions_weight = captions_weight
        self.distillation, self.distillation_weight = distillation, distillation_weight

    @property
    def network(self) -> Network:
        return self.captioner

    def forward(
        self,
        tokens: Tensor,
        labels: Tensor,
        view_index: Tensor,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        teacher_map: Tensor | None = None,
        num_items_in_batch: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss of a batch as `training.data.dataset.collate` makes them.

        num_items_in_batch: (2,) labels and photos of the whole step, of which this batch is a
            part: the losses and gradients of all parts, whatever their sizes, add up to those of
            the whole. This batch's own if None.
        """
        num_photos = len(tokens)
        if num_items_in_batch is None:
            num_labels = (labels != IGNORED).sum()
            num_items_in_batch = torch.stack([num_labels, labels.new_tensor(num_photos)])
        step_labels, step_photos = num_items_in_batch
        encoder = self.network.encoder
        if image_features is None:
            image_features = encoder(pixel_values)
        loss = image_features.new_zeros(())
        if self.captions_weight:
            logits = self.network(tokens, image_features=image_features)
            cross_entropy = F.cross_entropy(
                logits.flatten(0, 2).float(),
                labels.flatten(),
                ignore_index=IGNORED,
                label_smoothing=self.label_smoothing,
                reduction="sum",
            )
            loss = self.captions_weight * cross_entropy / step_labels
        if self.reward:  # after the captions: it turns the decoder's dropout off
            self_critical_loss = compute_self_critical_loss(
                self.network, image_features, view_index, self.reward, self.samples
            )
            loss = loss + self_critical_loss * num_photos / step_photos
        if self.distillation:
            patches = image_features[:, encoder.num_prefix_tokens :]
            distillation_loss = self.distillation(patches, encoder.kept_patches, teacher_map)
            weight = self.distillation_weight
            loss = loss + weight * distillation_loss * num_photos / step_photos
        return {"loss": loss}


class WeightAverage(TrainerCallback):
    """Exponential moving average of the trained weights: what is evaluated and saved as best."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {
            name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad
        }

    def on_step_end(self, args, state, control, model=None, **kwargs):
        # a short memory early on, so that the initial weights are soon forgotten
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    self.weights[name].lerp_(p.detach(), 1 - decay)

    def save(self, checkpoint: str | Path) -> None:
        """Write the averages into the folder of a checkpoint."""
        save_file(self.weights, Path(checkpoint, AVERAGE))

    def load(self, checkpoint: str | Path, network: Network | None = None) -> None:
        """Read the averages from the folder of a checkpoint.

        network: of a captioner's learner, whose encoder's tensors earlier versions named otherwise.
        """
        weights = load_file(Path(checkpoint, AVERAGE))
        if network is not None:
            network.encoder.rename_state(weights, "captioner.encoder.")
        for name, weight in weights.items():
            self.weights[name].copy_(weight)

    def swap_weights(self, model: nn.Module) -> None:
        """Exchange the model's weights and the averages; a second call undoes it."""
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    current = p.detach().clone()
                    p.copy_(self.weights[name])
                    self.weights[name] = current
