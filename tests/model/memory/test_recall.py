"""What a captioner makes of a memory: captions, maps and shares."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from model.captioner import Captioner
from model.corpora import CaptionedImage
from model.errors import OptionError
from model.memory import Memory
from model.network.network import EncodedPhoto
from tests.support.tiny import draw_photo, tiny_captioner, tiny_captioner_with_memory

DOG, CAT = "A brown dog runs through the grass.", "Two children play in the red water."
METHODS = ("attention", "gradient", "rollout", "gradient-rollout", "occlusion")


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner_with_memory()


@pytest.fixture
def photos(tmp_path):
    items = []
    for number, text in enumerate([DOG, CAT, "A man climbs."]):
        path = tmp_path / f"{number}.png"
        draw_photo(40, 40, (80 * number, 20, 220 - 80 * number)).save(path)
        items.append(CaptionedImage(path.name, path, [text]))
    return items


@pytest.fixture
def memory(captioner, photos):
    return Memory.build(captioner, photos)


def compute_logits(captioner: Captioner, photo: EncodedPhoto) -> torch.Tensor:
    start = torch.tensor([[captioner.network.tokenizer.start]])
    with torch.no_grad():
        cache = captioner.network.decoder.look_at(photo.context[None])
        return captioner.network.decoder(start, cache).logits[0, -1]


def test_without_a_memory_nothing_changes_to_the_bit(captioner, photos):
    plain, path = tiny_captioner(), photos[0].path
    photo, same = plain.encode([path])[0], captioner.encode([path])[0]
    assert compute_logits(captioner, same).equal(compute_logits(plain, photo))
    assert captioner.caption(path) == plain.caption(path)
    empty = Memory.build(captioner, [])
    assert compute_logits(captioner, captioner.encode([path], empty)[0]).equal(
        compute_logits(plain, photo)
    )


def test_a_checkpoint_keeps_its_memory_encoder(captioner, photos, memory, tmp_path):
    captioner.save_pretrained(tmp_path / "saved", torch.float32)
    loaded = Captioner.from_pretrained(tmp_path / "saved")
    first, second = (c.encode([photos[0].path], memory)[0] for c in (captioner, loaded))
    torch.testing.assert_close(first.memory_features, second.memory_features)


def test_what_is_remembered_is_what_the_words_may_look_at(captioner, photos, memory):
    photo = captioner.encode([photos[0].path], memory)[0]
    assert [caption.photo for caption in photo.remembered][0] == "0.png"
    assert {caption.text for caption in photo.remembered} == {DOG, CAT, "A man climbs."}
    without = captioner.encode([photos[0].path])[0]
    assert not compute_logits(captioner, photo).allclose(compute_logits(captioner, without))


def test_the_order_of_entries_does_not_matter(captioner, photos, memory):
    turned = Memory.build(captioner, photos[::-1])
    path = photos[1].path
    logits = [compute_logits(captioner, captioner.encode([path], m)[0]) for m in (memory, turned)]
    torch.testing.assert_close(*logits, atol=1e-4, rtol=1e-4)
    photo = captioner.encode([path], memory)[0]
    other = captioner.network.remember(photo, photo.remembered[::-1])
    torch.testing.assert_close(compute_logits(captioner, other), logits[0], atol=1e-4, rtol=1e-4)


def test_photos_of_a_batch_keep_their_own_memories(captioner, photos, memory):
    """As many remembered tokens as each has, or none: as one by one."""
    paths = [photo.path for photo in photos]
    full, few, none = captioner.encode(paths)
    (full,) = captioner.encode([full], memory)
    (few,) = captioner.encode([few], Memory.build(captioner, photos[2:]))
    batch = [full, few, none]
    for options in ({"num_beams": 1}, {"num_beams": 3}):
        together = [captions[0] for captions in captioner.captions(batch, **options)]
        alone = [captioner.caption(photo, **options) for photo in batch]
        assert [c.text for c in together] == [c.text for c in alone]
        assert [c.log_probability for c in together] == pytest.approx(
            [c.log_probability for c in alone], abs=1e-3
        )


def test_stream_ends_with_the_caption(captioner, photos, memory):
    *_, last = captioner.stream(photos[0].path, memory=memory, num_beams=3)
    assert last.text == captioner.caption(photos[0].path, memory=memory, num_beams=3).text


def test_explanation_has_the_memory_behind_the_patches(captioner, photos, memory):
    photo = captioner.encode([photos[0].path], memory)[0]
    caption = captioner.caption(photo)
    explanation = captioner.explain(photo, caption, methods=METHODS)
    # the weights and probabilities of the search are those of the replay
    assert explanation.log_probability == pytest.approx(caption.log_probability, abs=1e-3)
    weights = explanation.attention.weights
    num_image_tokens = len(photo.image_features)
    num_remembered = sum(len(c.tokens) for c in photo.remembered)
    assert weights.shape[3] == num_image_tokens + num_remembered
    assert weights.sum(axis=3) == pytest.approx(1, abs=1e-5)
    for word, (_, _, start, stop) in enumerate(explanation.words):
        share = weights[:, :, start:stop, num_image_tokens:].sum(axis=3).mean()
        assert explanation.memory_share(word) == pytest.approx(share, abs=1e-5)
        by_caption = explanation.memory_weights(word)
        assert [len(row) for row in by_caption] == [len(c.words) for c in photo.remembered]
        assert sum(map(sum, by_caption)) == pytest.approx(share, abs=1e-5)
    for method in METHODS:
        assert explanation.heatmap(0, method).shape == captioner.network.encoder.grid_size
    assert explanation.heatmap(0, "attention", mask_sinks=True).min() >= 0
    again = captioner.explain(photos[0].path, caption, memory=memory)
    assert again.memory_share(0) == pytest.approx(explanation.memory_share(0), abs=1e-5)


def test_without_a_memory_its_share_is_nothing(captioner, photos):
    explanation = captioner.explain(photos[0].path, DOG)
    assert explanation.memory_share(0) == 0
    assert explanation.memory_weights(0) == []


def test_alternatives_look_at_the_memory(captioner, photos, memory):
    with_memory = captioner.alternatives(photos[0].path, DOG, memory=memory)
    assert with_memory != captioner.alternatives(photos[0].path, DOG)


def test_a_captioner_that_has_not_learned_it_says_so(photos):
    plain = tiny_captioner()
    with pytest.raises(OptionError, match="not learned to look at a memory"):
        plain.caption(photos[0].path, memory=Memory.build(plain, photos))


def test_long_and_odd_captions_are_read_as_far_as_they_fit(captioner, photos):
    texts = ["word " * 50_000, "lone \ud800 surrogate 🐶", "..."]
    odd = [replace(p, captions=[text]) for p, text in zip(photos, texts, strict=True)]
    photo = captioner.encode([photos[0].path], Memory.build(captioner, odd))[0]
    longest = captioner.network.config.max_length
    assert all(0 < len(caption.tokens) <= longest for caption in photo.remembered)
    captioner.caption(photo)


def test_the_word_in_the_memory_is_copied(captioner):
    """With the same photo each time, the caption to be written stands in the memory alone."""
    network = tiny_captioner_with_memory(seed=3).network
    tokenizer = network.tokenizer
    objects = ["dog", "water", "shirt", "rock", "grass"]
    captions = [tokenizer.encode(f"A {name}.")[0] for name in objects]
    network.requires_grad_(False)
    network.decoder.requires_grad_(True)
    network.memory_encoder.requires_grad_(True)
    learned = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learned, 3e-3)
    image = network.encoder(torch.zeros(1, 3, 56, 56))[0].detach()
    longest = max(map(len, captions))
    rows = [[tokenizer.start, *c, tokenizer.end] for c in captions]
    ids = nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], True, tokenizer.end)
    assert ids.shape[1] == longest + 2

    def read() -> torch.Tensor:
        contexts = [torch.cat([image, f]) for f in network.encode_captions(captions)]
        padded = nn.utils.rnn.pad_sequence(contexts, True)
        lengths = torch.tensor([len(c) for c in contexts])
        visible = torch.arange(padded.shape[1]) < lengths[:, None]
        return network.decoder(ids[:, :-1], network.decoder.look_at(padded, visible)).logits

    for _ in range(300):
        loss = nn.functional.cross_entropy(read().flatten(0, 1), ids[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.02:
            break
    assert read().argmax(-1).equal(ids[:, 1:])
