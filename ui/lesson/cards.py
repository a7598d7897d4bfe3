"""The lesson's cards: one for each step, with its text, its numbers and its pictures."""

from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from model import Caption, Captioner
from model.lesson.steps import LessonStep, RetrievalStep, TranslationStep
from model.translation import Translation
from ui.lesson import pictures
from ui.lesson.pictures import find_largest, format_first, format_number, format_tiny
from ui.templates import render

SPELT_OUT = 4  # patches that the softmax is spelt out for
CARD_COUNT = 5  # of `render_step_cards`


def render_introduction() -> Markup:
    """What stands above the lesson."""
    return _render("introduction")


def render_elsewhere(has_translation: bool) -> Markup:
    """The last card: other uses of the block, without translation where it is a step."""
    return _render("elsewhere", has_translation=has_translation)


def render_step_cards(
    photo: Image.Image,
    captioner: Captioner,
    caption: Caption,
    step: LessonStep,
    word: int,
    layer: int,
    head: int,
) -> list[Markup]:
    """The cards of steps 1 to 5 for one word, layer and head, which `step` was taken from."""
    encoder = captioner.network.encoder
    grid_size, prefix = encoder.grid_size, encoder.num_prefix_tokens
    return [
        _render_query(captioner, caption, step, word, layer, head),
        _render_scores(photo, step, grid_size, prefix),
        _render_softmax(photo, step, grid_size, prefix),
        _render_output(photo, step, grid_size, prefix, head),
        _render(
            "self_attention",
            layer=layer,
            head=head,
            token_texts=step.token_texts,
            weights=step.self_weights,
        ),
    ]


def render_blind_card(seeing: str, blind: str, num_layers: int) -> Markup:
    """The card of step 6: the caption beside that of the decoder that may not look."""
    return _render("blind", seeing=seeing, blind=blind, num_layers=num_layers)


def render_retrieval_card(
    retrieval: RetrievalStep, captioner: Captioner, word: str, layer: int, head: int
) -> Markup:
    """The card of step 7: the same step with sentences behind the patches."""
    weights, encoder = retrieval.step.weights, captioner.network.encoder
    num_image_tokens = len(weights) - sum(len(s.tokens) for s in retrieval.sentences)
    prefix = encoder.num_prefix_tokens
    sources = [
        (_name_prefix(prefix), weights[:prefix].sum()),
        (f"{num_image_tokens - prefix} patches", weights[prefix:num_image_tokens].sum()),
    ]
    if not prefix:
        del sources[0]
    sentences = [
        {"text": sentence.text, "words": [w.text for w in sentence.words], "shares": shares}
        for sentence, shares in zip(retrieval.sentences, retrieval.word_weights, strict=True)
    ]
    # a list, as two sentences may be the same
    sources += [(f"“{sentence['text']}”", sum(sentence["shares"])) for sentence in sentences]
    return _render(
        "retrieval",
        word=word,
        layer=layer,
        head=head,
        sources=[name for name, _ in sources],
        source_shares=[share for _, share in sources],
        sentences=sentences,
        num_rows=len(weights),
        weights_difference=retrieval.step.weights_difference,
    )


def render_translation_card(
    taken: TranslationStep, translation: Translation, word: int, layer: int, head: int
) -> Markup:
    """The card of step 8: the same block between two sentences."""
    step, source_texts = taken
    best = int(step.scores.argmax())
    exponentials = np.exp(step.scores)
    chosen = translation.words[word]
    return _render(
        "translation",
        translation=translation.text,
        language=translation.language,
        word=chosen,
        text_before=" ".join(earlier.text for earlier in translation.words[:word]),
        pieces=chosen.stop - chosen.start,
        layer=layer,
        head=head,
        step=step,
        source_texts=source_texts,
        best=best,
        first_pairs=list(zip(step.query[:3], step.keys[best][:3], strict=True)),
        exponential=exponentials[best],
        total_exponential=exponentials.sum(),
        # the row of each token chose the next one
        asking=[*step.token_texts[1:], chosen.text],
    )


def render_message_card(message: str) -> Markup:
    """The card of step 7 where it cannot be taken, and why."""
    return _render("retrieval_message", message=message)


def _render(name: str, **values: Any) -> Markup:
    return render(
        f"lesson/card_templates/{name}.html",
        number=format_number,
        format_first=format_first,
        format_tiny=format_tiny,
        draw_bars=pictures.draw_bars,
        draw_score_map=pictures.draw_score_map,
        draw_share_map=pictures.draw_share_map,
        draw_head_maps=pictures.draw_head_maps,
        draw_share_list=pictures.draw_share_list,
        draw_triangle=pictures.draw_triangle,
        draw_grid=pictures.draw_grid,
        **values,
    )


def _render_query(
    captioner: Captioner, caption: Caption, step: LessonStep, word: int, layer: int, head: int
) -> Markup:
    chosen_word = caption.words[word]
    return _render(
        "query",
        word=chosen_word,
        text_before=" ".join(earlier.text for earlier in caption.words[:word]),
        pieces=chosen_word.stop - chosen_word.start,
        layer=layer,
        head=head,
        width=captioner.network.config.width,
        query=step.query,
    )


def _render_scores(
    photo: Image.Image, step: LessonStep, grid_size: tuple[int, int], prefix: int
) -> Markup:
    scores = step.scores[prefix:].reshape(grid_size)
    row, col = find_largest(scores)
    key = step.keys[prefix + row * grid_size[1] + col]
    return _render(
        "scores",
        photo=photo,
        scores=scores,
        row=row,
        col=col,
        query=step.query,
        key=key,
        products=step.query * key,
        first_pairs=list(zip(step.query[:3], key[:3], strict=True)),
        root=len(key) ** 0.5,
    )


def _render_softmax(
    photo: Image.Image, step: LessonStep, grid_size: tuple[int, int], prefix: int
) -> Markup:
    shares = step.weights[prefix:].reshape(grid_size)
    exponentials = np.exp(step.scores - step.scores.max())
    order = prefix + np.argsort(-step.scores[prefix:])
    prefix_name = _name_prefix(prefix)
    groups = [
        (f"row {(i - prefix) // grid_size[1]}, column {(i - prefix) % grid_size[1]}", [i])
        for i in order[:SPELT_OUT]
    ]
    if prefix:
        groups.append((prefix_name, list(range(prefix))))
    rest = order[SPELT_OUT:]
    groups.append((f"the other {len(rest)} patches", rest))
    rows = [
        {
            "name": name,
            "score": step.scores[tokens[0]] if len(tokens) == 1 else None,
            "exponential": exponentials[tokens].sum(),
            "share": step.weights[tokens].sum(),
        }
        for name, tokens in groups
    ]
    return _render(
        "softmax",
        photo=photo,
        rows=rows,
        max_score=step.scores.max(),
        total_exponential=exponentials.sum(),
        total_share=step.weights.sum(),
        shares=shares,
        times_even=shares.max() * len(step.weights),
        prefix_name=prefix_name,
        prefix_share=step.weights[:prefix].sum(),
    )


def _render_output(
    photo: Image.Image, step: LessonStep, grid_size: tuple[int, int], prefix: int, head: int
) -> Markup:
    num_heads = len(step.all_weights)
    largest = np.argsort(-step.weights)[:3]
    return _render(
        "output",
        photo=photo,
        head=head,
        num_heads=num_heads,
        output=step.output,
        largest_terms=[(step.weights[i], step.values[i, 0]) for i in largest],
        maps=step.all_weights[:, prefix:].reshape(num_heads, *grid_size),
        weights_difference=step.weights_difference,
        output_difference=step.output_difference,
    )


def _name_prefix(count: int) -> str:
    """The tokens before the patches, in words; "" if there are none."""
    if count == 0:
        return ""
    return "CLS (the whole photo)" if count == 1 else f"CLS and {count - 1} more (no place)"
