"""Captions of a split in another language, scored against what people wrote in that language."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.errors import DataError
from model.translation import Translation, Translator
from training.evaluation.metrics import drop_wordless, score_captions


def evaluate_translations(
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    translator: Translator,
    language: str,
) -> dict[str, Any]:
    """Translate captions and score them; photos without references are left out.

    captions, references: by the photo's name; only references of photos with a caption count.

    Returns a record for JSON: `language`, points by metric name, `made_with`, `num_images`, and
    `captions`, the translations, by name. A caption that cannot be translated is an empty one.

    Raises DataError where no photo has references.
    """
    own = {name: drop_wordless(references.get(name, ())) for name in captions}
    own = {name: texts for name, texts in own.items() if texts}
    if not own:
        raise DataError("--references: none of the photos that are captioned is in it")
    results = translator.translate_readable([captions[name] for name in own], language)
    texts = [result.text if isinstance(result, Translation) else "" for result in results]
    translations = dict(zip(own, texts, strict=True))
    scores = score_captions(translations, own)
    return {
        "language": language,
        **scores.points,
        "num_images": scores.num_images,
        "made_with": scores.made_with,
        "captions": translations,
    }
