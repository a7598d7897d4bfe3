"""transformers' Trainer for translations: dev BLEU of the averaged weights decides."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.errors import RunError
from model.translation.network import TranslatorNetwork
from model.translation.translator import Translator
from training.data.dataset import IGNORED
from training.loop.callbacks import EpochCallback
from training.loop.checkpoints import report_write_errors
from training.loop.learner import WeightAverage
from training.loop.run_folder import BEST, LOG, write_atomically
from training.loop.run_trainer import RunTrainer
from training.loop.trainer import replace_folder
from training.translation.pairs import ParallelText
from training.translation.scores import compute_bleu


class TranslationLearner(nn.Module):
    """A network and the label-smoothed loss of a batch (Szegedy et al. 2016, section 7)."""

    def __init__(self, network: TranslatorNetwork, label_smoothing: float):
        super().__init__()
        self.network, self.label_smoothing = network, label_smoothing

    def forward(
        self, sources: Tensor, targets: Tensor, visible: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Tensors as `collate_pairs` gives them; the mean over the labels."""
        logits = self.network(sources, targets, visible)
        loss = F.cross_entropy(
            logits.flatten(0, 1).float(),
            labels.flatten(),
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
        )
        return {"loss": loss}


class TranslationTrainer(RunTrainer):
    """The training loop. Resuming, mixed precision and several processes are the Trainer's.

    Args:
        average: the weights that are evaluated and saved as best.
        dev: sentences that are translated, greedily, at each evaluation.
    """

    def __init__(self, *args, average: WeightAverage, dev: ParallelText, **kwargs):
        super().__init__(*args, **kwargs)
        self.add_callback(average)
        self.add_callback(EpochCallback(self.train_dataset))
        self.average, self.dev = average, dev
        self.best_score = float("-inf")  # dev BLEU, the mean over the languages

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: try a lower "
                "--rate or --fp32, and another --output"
            )
        return loss

    def log(self, logs, start_time=None):
        super().log(logs, start_time)
        if self.is_world_process_zero():
            lines = "".join(json.dumps(entry) + "\n" for entry in self.state.log_history)
            write_atomically(Path(self.args.output_dir, LOG), lines)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Translate the dev sentences with the averaged weights; save the best so far."""
        learner = self.accelerator.unwrap_model(self.model)
        learner.eval()
        self.average.swap_weights(learner)
        try:
            scores = self._score(Translator(learner.network))
            if scores["eval_bleu"] > self.best_score:
                self.best_score = scores["eval_bleu"]
                if self.is_world_process_zero():
                    save_best(learner.network, Path(self.args.output_dir))
        finally:
            self.average.swap_weights(learner)
        self.log(scores)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, scores
        )
        return scores

    def _score(self, translator: Translator) -> dict[str, float]:
        sources = self.dev.sentences[self.dev.source]
        scores = {}
        with torch.autocast(translator.network.device.type, torch.bfloat16, self.args.bf16):
            for language in self.dev.targets:
                translations = translator.translate_all(sources, language, num_beams=1)
                texts = [translation.text for translation in translations]
                references = self.dev.sentences[language]
                scores[f"eval_bleu_{language}"] = compute_bleu(texts, references).score
        return {"eval_bleu": sum(scores.values()) / len(scores), **scores}


def save_best(network: TranslatorNetwork, output: Path) -> None:
    """Save a translator as the run's best, in place of another, which stays until then."""
    with report_write_errors(output / BEST):
        replace_folder(Translator(network).save_pretrained, output / BEST)
