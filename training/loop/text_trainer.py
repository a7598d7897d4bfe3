"""transformers' Trainer for captions without photos."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import TrainingArguments

from model.network.network import Network
from training.data.dataset import IGNORED, collate_captions, encode_caption
from training.loop.precision import is_bfloat16_fast
from training.loop.run_trainer import RunTrainer

LABEL_SMOOTHING = 0.1


class TextLearner(nn.Module):
    """A decoder with nothing to look at, and its loss: the image features are one zero vector."""

    def __init__(self, network: Network):
        super().__init__()
        self.decoder = network.decoder
        self.image_width = network.config.image_width

    def forward(self, tokens: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """tokens, labels: (1, captions, T), as `collate_captions` gives them."""
        nothing = tokens.new_zeros((tokens.shape[1], 1, self.image_width), dtype=torch.float32)
        logits = self.decoder(tokens[0], self.decoder.look_at(nothing)).logits
        smoothing = LABEL_SMOOTHING if self.training else 0.0
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(),
            labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
        )
        return {"loss": loss}


def train_on_sentences(
    network: Network,
    sentences: list[str],
    held_out: list[str],
    output: Path,
    last_checkpoint: str | None,
    *,
    rate: float,
    epochs: float,
    batch_size: int,
    seed: int,
) -> float:
    """Train the decoder of a network, in its place, as a language model; a checkpoint an epoch.

    Returns the loss on the sentences held out, in nats a token.
    """

    def encode(texts: list[str]) -> list[list[int]]:
        return [
            encode_caption(text, network.tokenizer, network.config.max_length) for text in texts
        ]

    def collate(captions: list[list[int]]) -> dict[str, Any]:
        tokens, labels = collate_captions([captions])
        return {"tokens": tokens, "labels": labels}

    unseen = encode(held_out)
    trainer = RunTrainer(
        TextLearner(network),
        TrainingArguments(
            output_dir=str(output),
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            learning_rate=rate,
            adam_beta2=0.98,
            weight_decay=0.05,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            bf16=is_bfloat16_fast(),
            use_cpu=not torch.cuda.is_available(),
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=1,
            logging_steps=20,
            report_to=[],
            remove_unused_columns=False,
            seed=seed,
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=encode(sentences),
        eval_dataset=unseen,
        data_collator=collate,
    )
    trainer.train(resume_from_checkpoint=last_checkpoint)
    return measure_loss(network, unseen, batch_size)


@torch.no_grad()
def measure_loss(network: Network, captions: list[list[int]], batch_size: int) -> float:
    """The cross-entropy of captions without photos, in nats a token; the network comes to the
    CPU."""
    learner, total, num_labels = TextLearner(network.to("cpu")).eval(), 0.0, 0
    for start in range(0, len(captions), batch_size):
        tokens, labels = collate_captions([captions[start : start + batch_size]])
        count = int((labels != IGNORED).sum())
        total += float(learner(tokens, labels)["loss"]) * count
        num_labels += count
    return total / num_labels
