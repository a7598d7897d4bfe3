"""Translations against what people wrote: sacrebleu's BLEU and chrF."""

from collections.abc import Sequence

from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.metrics.bleu import BLEUScore


def compute_bleu(texts: Sequence[str], references: Sequence[str]) -> BLEUScore:
    """Corpus BLEU (Papineni et al. 2002) with capitals, tokenizer 13a; one reference a text."""
    return BLEU().corpus_score(texts, [references])


def describe_scores(texts: Sequence[str], references: Sequence[str]) -> dict[str, float | str]:
    """BLEU and chrF (Popović 2015), 0 to 100, each with sacrebleu's signature."""
    result: dict[str, float | str] = {}
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        result[name] = metric.corpus_score(texts, [references]).score
        result[f"{name}_signature"] = str(metric.get_signature())
    return result
