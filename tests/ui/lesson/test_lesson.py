"""The lesson: its numbers against torch, and its tab in a browser."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from model import load
from model.explain.methods import rate_by_gradient
from model.lesson.numpy_attention import attention
from model.lesson.steps import caption_blindly, choose_first_step, take_step_apart
from model.search.caption import Caption, add_probabilities
from tests.support.hub import PHOTOS, encoder_decoder, save
from tests.support.tiny import draw_photo, tiny_captioner
from ui.lesson import tab as lesson_tab
from ui.lesson.cards import render_step_cards
from ui.lesson.pictures import draw_share_map, format_number
from ui.serving.captioners import Captioners

LAYERS = HEADS = 2
GRID = (3, 6)  # of the captioner below; not square, so that rows and columns cannot change places


@pytest.fixture(scope="module")
def captioner():
    captioner = tiny_captioner((42, 84))
    # biases too, or they are not tested
    for name, p in captioner.network.decoder.named_parameters():
        if "attn." in name and name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.1)
    return captioner


@pytest.fixture(scope="module")
def encoded(captioner):
    return captioner.encode([draw_photo()])[0]


@pytest.fixture(scope="module")
def features(encoded):
    return encoded.image_features


@pytest.fixture(scope="module")
def caption(captioner, encoded):
    """A sentence as if the captioner had written it: what a random one writes is no words."""
    said = captioner.explain(encoded, "A zebra runs through the grass.")
    tokens, _ = captioner.network.tokenizer.encode(said.text)
    return Caption(said.text, said.words, said.log_probability, tuple(tokens))


def every_head(captioner, features, caption):
    for word in (0, len(caption.words) - 1):
        for layer in range(LAYERS):
            for head in range(HEADS):
                step = take_step_apart(captioner.network, features, caption, word, layer, head)
                yield word, layer, head, step


@torch.inference_mode()
def test_numbers_are_those_of_the_captioner(captioner, features, caption):
    """Not only of the block alone: of the whole decoder reading the whole caption."""
    given = {}
    blocks = captioner.network.decoder.blocks
    hooks = [
        part.register_forward_hook(lambda _, __, out, key=(kind, i): given.update({key: out[0]}))
        for i, block in enumerate(blocks)
        for kind, part in (("cross", block.cross_attn), ("query", block.cross_attn.query))
    ]
    inputs = torch.tensor([[captioner.network.tokenizer.start, *caption.tokens[:-1]]])
    cache = captioner.network.decoder.look_at(features[None])
    output = captioner.network.decoder(inputs, cache, need_weights=True)
    for hook in hooks:
        hook.remove()
    for word, layer, head, step in every_head(captioner, features, caption):
        row = caption.words[word].start  # the position that chose the word's first token
        weights = output.cross_attn_weights[layer][0, :, row]
        np.testing.assert_allclose(step.weights, weights[head], atol=1e-5)
        np.testing.assert_allclose(step.all_weights, weights, atol=1e-5)
        np.testing.assert_allclose(step.layer_output, given["cross", layer][0, row], atol=1e-5)
        query = given["query", layer][row].view(HEADS, -1)[head]
        np.testing.assert_allclose(step.query, query, atol=1e-5)
        keys, values = cache.layers[layer].cross_attn
        np.testing.assert_allclose(step.keys, keys[0, head], atol=1e-5)
        np.testing.assert_allclose(step.values, values[0, head], atol=1e-5)
        assert 0 < max(step.weights_difference, step.output_difference) < 1e-5


def test_the_steps_follow_from_each_other(captioner, features, caption):
    for *_, step in every_head(captioner, features, caption):
        assert step.weights.shape == (1 + GRID[0] * GRID[1],)
        assert step.weights.sum() == pytest.approx(1)
        exponentials = np.exp(step.scores)
        np.testing.assert_allclose(step.weights, exponentials / exponentials.sum())
        best = step.scores.argmax()
        by_hand = step.query @ step.keys[best] / np.sqrt(len(step.query))
        assert step.scores[best] == pytest.approx(by_hand, abs=1e-6)
        whole, shares = attention(step.query[None], step.keys, step.values)
        np.testing.assert_allclose(step.output, whole[0], atol=1e-6)
        np.testing.assert_allclose(step.weights, shares[0], atol=1e-9)


@torch.inference_mode()
def test_self_attention_sees_the_words_so_far(captioner, features, caption):
    word = len(caption.words) - 1
    start = caption.words[word].start
    ids = [captioner.network.tokenizer.start, *caption.tokens[:start]]
    block = captioner.network.decoder.blocks[0]
    x = captioner.network.decoder.token_embedding(torch.tensor([ids]))
    x = block.self_attn_norm(x + captioner.network.decoder.position_embedding.weight[: len(ids)])
    _, expected = block.self_attn(
        x, block.self_attn.keys_values(x), is_causal=True, need_weights=True
    )
    for head in range(HEADS):
        step = take_step_apart(captioner.network, features, caption, word, 0, head)
        np.testing.assert_allclose(step.self_weights, expected[0, head], atol=1e-5)
        assert (np.triu(step.self_weights, 1) == 0).all()
        np.testing.assert_allclose(step.self_weights.sum(axis=1), 1)
        assert step.token_texts[0] == "start" and len(step.token_texts) == start + 1
        assert "".join(step.token_texts[1:]) == "".join(w.text for w in caption.words[:word])


def test_the_lesson_opens_where_the_photo_did_most(captioner, encoded, caption):
    explanation = captioner.explain(encoded, caption)
    word, layer, head = choose_first_step(explanation)
    assert explanation.gains[word] == max(explanation.gains)
    first = explanation.words[word].start, explanation.words[word].start + 1
    sums = {
        (i, j): rate_by_gradient(explanation.attention, first, i, j)[1:].sum()
        for i in range(LAYERS)
        for j in range(HEADS)
    }
    assert (layer, head) == max(sums, key=sums.get)


@torch.inference_mode()
def test_unseeing_is_a_decoder_to_which_the_photo_gives_nothing(captioner):
    blind = tiny_captioner((42, 84))
    blind.network.load_state_dict(captioner.network.state_dict())
    for block in blind.network.decoder.blocks:
        block.cross_attn.value.weight.zero_()
        block.cross_attn.value.bias.zero_()
    photos = [draw_photo(), draw_photo(50, 90, (0, 0, 250))]
    blind_captions = [blind.caption(photo) for photo in photos]
    assert {caption.text for caption in blind_captions} == {caption_blindly(captioner.network)}
    assert len({round(caption.log_probability, 3) for caption in blind_captions}) == 1
    assert len({round(captioner.caption(photo).log_probability, 3) for photo in photos}) == 2


def test_cards_say_the_numbers_of_the_step(captioner, features, caption):
    step = take_step_apart(captioner.network, features, caption, 1, 1, 0)
    query, scores, softmax, output, words = render_step_cards(
        draw_photo(90, 60), captioner, caption, step, word=1, layer=1, head=0
    )
    assert "has written “A”, and is about to choose “zebra” (in " in query
    assert format_number(step.query[0]) in query
    patches = step.weights[1:].reshape(GRID)
    row, col = np.argwhere(patches == patches.max())[0]
    assert (
        f"at row {row}, column {col}" in scores and format_number(step.scores[1:].max()) in scores
    )
    assert f"best patch gets {patches.max():.3f}" in softmax
    assert f"CLS (the whole photo) gets {step.weights[0]:.3f}" in softmax and ">1.000<" in softmax
    assert f"<strong>{format_number(step.output[0])}</strong>" in output
    assert output.count("<img") == HEADS and output.count("chosen</figcaption>") == 1
    for name, share in zip(("start mark", "A"), step.self_weights[-1], strict=True):
        assert f">{name}</th>" in words and f"<td>{share:.3f}</td>" in words


def test_the_frame_is_around_the_largest_patch():
    shares = np.zeros(GRID)
    shares[1, 4] = 1
    html = draw_share_map(Image.new("RGB", (120, 60), "black"), shares, "")
    assert "Highest at row 1, column 4." in html
    data = base64.b64decode(html.partition("base64,")[2].partition('"')[0])
    bright = np.asarray(Image.open(io.BytesIO(data)).convert("L")) > 200
    rows, cols = np.nonzero(bright)  # the patch is 20 × 20 pixels, from (80, 20)
    assert (rows.min(), rows.max()) == pytest.approx((18, 42), abs=2)
    assert (cols.min(), cols.max()) == pytest.approx((78, 102), abs=2)


# --- in a browser ---------------------------------------------------------------------------

LIVE = "[aria-live=polite]"
HOSTILE = "A <img/src=x/onerror=x()> ${1+1} dog"


@pytest.fixture(scope="module")
def lesson_address(captioner, tmp_path_factory):
    """The tab alone, with a captioner whose words are not to be trusted."""
    folder = tmp_path_factory.mktemp("lesson")
    captioner.save_pretrained(folder / "checkpoint")
    draw_photo(90, 60).save(folder / "brought.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONLENS_CHECKPOINT", str(folder / "checkpoint"))
        captioners = Captioners()
    loaded = captioners.get()
    tokens, words = loaded.network.tokenizer.encode(HOSTILE)
    written = Caption(HOSTILE, add_probabilities(words, [-1.0] * len(tokens)), -1.0, (*tokens, 1))
    loaded.caption = lambda *_, **__: written
    with gr.Blocks() as demo:
        model = gr.Dropdown(captioners.names, value=captioners.names[0], label="Model")
        photo = lesson_tab.build(captioners, model).photo
        gr.Button("Bring").click(lambda: str(folder / "brought.png"), None, [photo])
    css = (Path(lesson_tab.__file__).parent / "lesson.css").read_text()
    _, address, _ = demo.launch(
        _frontend=False,  # else gradio waits 3 s, too little on a busy machine
        prevent_thread_lock=True,
        quiet=True,
        css=css,
        run_history=False,
    )
    yield address
    demo.close()


@pytest.fixture
def page(browser, lesson_address):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(lesson_address)
    page.wait_for_selector("input[type=file]", state="attached")
    yield page
    outside = [u for u in requested if not u.startswith((lesson_address, "data:", "blob:"))]
    assert not outside, "the page asked other hosts"
    page.close()


@pytest.mark.browser
def test_photo_to_lesson_to_another_word(page, tmp_path):
    draw_photo(320, 120).save(tmp_path / "photo.png")
    page.set_input_files("input[type=file]", tmp_path / "photo.png")
    page.wait_for_selector("text=6. And if it may not look?")
    assert page.locator(".lesson-caption").inner_text() == HOSTILE
    assert "looked most at row" in page.locator(f"{LIVE}:has(.lesson)").inner_text()
    words = page.get_by_role("radio")
    assert words.count() == 4

    # every word, layer and head can be had, and the words are text wherever they are shown
    for i, word in enumerate(HOSTILE.split()):
        words.nth(i).check()
        page.wait_for_selector(f"text=is about to choose “{word}”")
    seen = set()
    for layer, head in ((0, 1), (1, 0)):
        for name, value in (("Layer", layer), ("Head", head)):
            page.get_by_label(name).click()
            page.get_by_role("option", name=str(value)).click()
            page.get_by_role("option").first.wait_for(state="detached")  # the list closes slowly
        page.wait_for_selector(f"text=head {head} of layer {layer} looked")
        seen.add(page.locator(".lesson-sides img").first.get_attribute("src"))
    assert len(seen) == 2
    assert not page.query_selector("img[src=x]")

    torch_and_numpy = page.locator("text=The model itself runs in torch").locator("strong")
    assert all(0 <= float(text) < 1e-5 for text in torch_and_numpy.all_inner_texts())
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    page.get_by_label("Remove Image").click()
    page.wait_for_selector("text=Choose a photo, and the lesson begins.")
    assert not page.query_selector("text=1. The query")


@pytest.mark.browser
def test_a_photo_that_the_page_brings_begins_the_lesson(page):
    page.get_by_role("button", name="Bring").click()
    page.wait_for_selector("text=6. And if it may not look?")


@pytest.mark.browser
def test_a_file_that_is_no_photo(page, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a photo")
    page.set_input_files("input[type=file]", tmp_path / "notes.jpg")
    assert "notes.jpg: not an image" in page.wait_for_selector(".toast-body").inner_text()
    page.wait_for_selector("input[type=file]", state="attached")
    page.wait_for_selector(f"{LIVE}:has-text('Choose a photo, and')")


def test_the_lesson_needs_our_decoder(tmp_path):
    """The page says so instead of a photo's lesson."""
    folders = {
        decoder: save(tmp_path / decoder, *encoder_decoder("vit", decoder))
        for decoder in ("bert", "gpt2")
    }
    captioners = SimpleNamespace(get=lambda name: load(folders[name]))
    *_, (lesson, *updates) = lesson_tab.start_lesson(captioners, PHOTOS[0], "bert")
    assert lesson is None and "takes our own decoder apart" in str(updates)
    *_, (lesson, *updates) = lesson_tab.start_lesson(captioners, PHOTOS[0], "gpt2")
    assert lesson.caption.words and "takes our own" not in str(updates)
