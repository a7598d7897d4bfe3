"""The lesson's text: a card of HTML for each step, with the numbers and pictures in it."""

import html

import numpy as np
from PIL import Image

from model import Caption, Captioner
from model.lesson.steps import LessonStep
from ui.lesson.pictures import (
    bars,
    first_few,
    number,
    place,
    score_map,
    share_list,
    share_map,
    small_maps,
    tiny,
    triangle,
)

BEST = 4  # patches that the softmax is spelt out for

INTRO = """
<div class="lesson"><h2>How a word looks at a photo</h2><div class="lesson-halves">
<p>The model writes a caption word by word. Before each word it holds two things: a vector (a list
of numbers) that sums up what is written so far, and the photo, cut into patches, with a vector for
each. <strong>Cross-attention</strong> is how the first reads the second. The word asks a question,
every patch shows what it has to offer, and the patches that fit best are read most.</p>
<p>Choose a photo and follow one word through it. Nothing here is made up: every number is this
model's own, computed as you click by the few lines of NumPy in
<strong>model/lesson/numpy_attention.py</strong>, which you can read in ten minutes.</p></div></div>
"""
ELSEWHERE = """
<div class="lesson lesson-card"><h2>The same block elsewhere</h2><div class="lesson-thirds">
<div><h3>Translation</h3><p>Cross-attention was made for this. Q comes from the translation so far,
K and V from the sentence to be translated, which is read once. The shares show which words of the
one language each word of the other was made from.</p></div>
<div><h3>Retrieval</h3><p>In a search, Q comes from the question and each document has a K; the
scores put the documents in order, and of the best few you get V, the text itself. A model that
answers from what was found reads it by cross-attention: Q from the answer so far, K and V from the
words of those documents.</p></div>
<div><h3>Pictures from text</h3><p>Here the sides are swapped. Q comes from each place in the
picture that is being painted, K and V from the words of the prompt: every place asks which words
it is about.</p></div>
</div></div>
"""


def sections(
    photo: Image.Image,
    captioner: Captioner,
    caption: Caption,
    step: LessonStep,
    word: int,
    layer: int,
    head: int,
) -> list[str]:
    """The cards of steps 1 to 5 for one word, layer and head; `step` is of `model.lesson.steps`."""
    grid, prefix = captioner.encoder.grid_size, captioner.encoder.num_prefix_tokens
    return [
        _query(captioner, caption, step, word, layer, head),
        _scores(photo, step, grid, prefix),
        _softmax(photo, step, grid, prefix),
        _output(photo, captioner, step, head),
        _self_attention(step, layer, head),
    ]


def unseeing(seeing: str, blind: str, layers: int) -> str:
    """The card of step 6: the caption beside that of the decoder that may not look."""
    return _card(
        "6. And if it may not look?",
        f"""
<p>Here every value in all {layers} layers was replaced by zeros. Whatever the shares are, nothing
of the photo comes through any more; the rest of the model is as it was. What it then writes, it
writes for every photo: it is what you would guess if you had read thousands of captions and saw
nothing.</p>""",
        f"""
<dl><dt>Looking</dt><dd>{html.escape(seeing)}</dd>
<dt>Not looking</dt><dd>{html.escape(blind)}</dd></dl>""",
    )


def _query(
    captioner: Captioner, caption: Caption, step: LessonStep, word: int, layer: int, head: int
) -> str:
    chosen, so_far = caption.words[word], " ".join(w.text for w in caption.words[:word])
    before = f"has written {_quoted(so_far)}" if so_far else "has written nothing yet"
    pieces = chosen.stop - chosen.start
    in_pieces = f" (in {pieces} pieces; this is where it chose the first)" if pieces > 1 else ""
    d = len(step.query)
    return _card(
        "1. The query: what the word is looking for",
        f"""
<p>The model {before}, and is about to choose {_quoted(chosen.text)}{in_pieces}. In layer {layer},
all that it knows so far is a vector of {captioner.config.width} numbers. Head {head} multiplies it
with a matrix that it has learned, and gets {d} numbers: the query.</p>
<code>query = text @ w_query + b_query</code>
<p class="lesson-sum">{first_few(step.query)}</p>""",
        bars(step.query, f"The query, {d} numbers")
        + """
<p>No single number means anything to us. It is the direction in which they point together that says
what is wanted.</p>""",
    )


def _scores(photo: Image.Image, step: LessonStep, grid: tuple[int, int], prefix: int) -> str:
    scores = step.scores[prefix:].reshape(grid)
    row, col = place(scores)
    key = step.keys[prefix + row * grid[1] + col]
    products, d = step.query * key, len(key)
    spelt = " + ".join(f"{number(step.query[i])} × {number(key[i])}" for i in range(min(3, d)))
    return _card(
        "2. The scores: how well each patch fits",
        f"""
<p>Every patch has a key, made from its vector in the same way: what it has to offer. Query and key
are multiplied number by number and added up. The more they point in the same direction, the higher
the score. Dividing by √{d} keeps the scores from growing with the length of the vectors.</p>
<code>keys = image @ w_key + b_key<br>scores = query @ keys.T / sqrt(d)</code>
<p>For the patch that fits best, at row {row}, column {col}:</p>
{bars(step.query, "query")}
{bars(key, "× key of that patch")}
{bars(products, "= products, to be added up")}
<p class="lesson-sum">({spelt} + …) / √{d}<br>
= {number(products.sum())} / {number(d**0.5)} = <strong>{number(scores.max())}</strong></p>""",
        score_map(
            photo,
            scores,
            f"The scores of all {scores.size} patches. Framed: the best, at row {row}, "
            f"column {col}, counted from 0 at the top left.",
        ),
    )


def _softmax(photo: Image.Image, step: LessonStep, grid: tuple[int, int], prefix: int) -> str:
    shares, largest = step.weights[prefix:].reshape(grid), step.scores.max()
    exponentials = np.exp(step.scores - largest)
    order = prefix + np.argsort(-step.scores[prefix:])
    rows = [
        (f"row {(i - prefix) // grid[1]}, column {(i - prefix) % grid[1]}", [i])
        for i in order[:BEST]
    ]
    if prefix:
        rows.append((_prefix(prefix), list(range(prefix))))
    rows.append((f"the other {len(order[BEST:])} patches", order[BEST:]))
    body = "".join(
        f'<tr><th scope="row">{name}</th>'
        f"<td>{number(step.scores[of[0]]) if len(of) == 1 else ''}</td>"
        f"<td>{number(exponentials[of].sum(), 3)}</td>"
        f"<td>{number(step.weights[of].sum(), 3)}</td></tr>"
        for name, of in rows
    )
    even = shares.max() * len(step.weights)
    extra = f" {_prefix(prefix)} gets {number(step.weights[:prefix].sum(), 3)}." if prefix else ""
    return _card(
        "3. The softmax: scores become shares",
        f"""
<p>Raising e to the power of a score makes it positive and lets the high ones stand out. Dividing by
the sum of all makes them shares of one whole. (The highest score is subtracted first; this cancels
out, and keeps the numbers small.)</p>
<code>weights = exp(scores − max) / sum(exp(scores − max))</code>
<table><thead><tr><th scope="col">patch</th><th scope="col">score</th>
<th scope="col">exp(score − {number(largest)})</th><th scope="col">share</th></tr></thead>
<tbody>{body}</tbody>
<tfoot><tr><th scope="row">together</th><td></td><td>{number(exponentials.sum(), 3)}</td>
<td>{number(step.weights.sum(), 3)}</td></tr></tfoot></table>""",
        share_map(
            photo,
            shares,
            f"The shares over the photo. The best patch gets {number(shares.max(), 3)}, "
            f"{even:.0f} times an even share.{extra} The maps called “attention” on this page are "
            "means of such shares.",
        ),
    )


def _output(photo: Image.Image, captioner: Captioner, step: LessonStep, head: int) -> str:
    grid, prefix = captioner.encoder.grid_size, captioner.encoder.num_prefix_tokens
    heads, d = len(step.all_weights), len(step.output)
    maps = step.all_weights[:, prefix:].reshape(heads, *grid)
    most = np.argsort(-step.weights)[:3]
    spelt = " + ".join(f"{number(step.weights[i], 3)} × {number(step.values[i, 0])}" for i in most)
    return f"""
<section class="lesson lesson-card"><h2>4. The output: the patches, mixed in these shares</h2>
<div class="lesson-halves"><div>
<p>Every patch also has a value: what it passes on when it is read. The values are added up, each
times its share. That gives {d} numbers about the places that were looked at.</p>
<code>values = image @ w_value + b_value<br>output = weights @ values</code>
</div><div>
{bars(step.output, f"The output of head {head}, {d} numbers")}
<p class="lesson-sum">The first: {spelt} + … = <strong>{number(step.output[0])}</strong></p>
</div></div>
<p>All {heads} heads of the layer do this at once, each with a question of its own:</p>
{small_maps(photo, maps, head)}
<div class="lesson-halves"><div>
<p>Side by side, their outputs are {heads} × {d} = {heads * d} numbers. One more matrix, the output
projection, mixes them, and the result is added to the word's vector. That is all that this layer
tells the word about the photo.</p>
<code>text + side_by_side @ w_output + b_output</code>
</div><div>
<p>The model itself runs in torch. For this word and layer, the shares that NumPy and torch compute
differ by at most <strong>{tiny(step.weights_difference)}</strong>, the outputs by
<strong>{tiny(step.output_difference)}</strong>. That is rounding in the last digits: it is the same
computation.</p>
</div></div></section>"""


def _self_attention(step: LessonStep, layer: int, head: int) -> str:
    last = "the start mark" if len(step.pieces) == 1 else _quoted(step.pieces[-1])
    return _card(
        "5. The same function, asking the words: self-attention",
        f"""
<p>Just before layer {layer} looked at the photo, it called the same function with the words in the
place of the patches. Query, keys and values all come from the text: this is how a word knows what
stands before it. A mask hides what is not written yet, so each word sees only itself and those
before.</p>
<code>multi_head_cross_attention(text, image, …)<br>
multi_head_cross_attention(text, text, …, mask=causal_mask(len(text)))</code>
<p>Where {last}, the last so far, looked with head {head}:</p>
{share_list(["start mark", *step.pieces[1:]], step.self_weights[-1])}""",
        triangle(
            step.self_weights,
            "One row for each word (or piece of one), the first at the top; one column for each "
            "that it may look at. Stronger colour, larger share. The bottom row is the list. The "
            "empty half is the mask.",
        ),
    )


def _card(title: str, text: str, picture: str) -> str:
    return (
        f'<section class="lesson lesson-card"><h2>{title}</h2>'
        f'<div class="lesson-sides"><div>{text}</div><div>{picture}</div></div></section>'
    )


def _prefix(count: int) -> str:
    """The tokens before the patches, in words."""
    return "CLS (the whole photo)" if count == 1 else f"CLS and {count - 1} more (no place)"


def _quoted(text: str) -> str:
    return f"“{html.escape(text)}”"
