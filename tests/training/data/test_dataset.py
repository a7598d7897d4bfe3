"""Examples and batches made of captioned images, and the cache of a frozen encoder's features."""

import numpy as np
import torch

from tests.support.tiny import tiny_captioner
from training.data import read_split
from training.data.augmentation import Augmentation
from training.data.dataset import IGNORED, CaptionDataset, cache_features, collate, encode_caption


def test_labels_are_the_next_tokens_and_the_end_is_learned(flickr):
    network = tiny_captioner().network
    tokenizer = network.tokenizer
    short, long = (encode_caption(c, tokenizer, 40) for c in ("a dog.", "A brown dog runs far."))
    images = [
        {"pixel_values": torch.zeros(3, 4, 4), "captions": [short, long]},
        {"pixel_values": torch.ones(3, 4, 4), "captions": [long]},
    ]
    batch = collate(images)
    assert batch["tokens"].shape == batch["labels"].shape == (2, 2, len(long) - 1)
    for row, caption in (((0, 0), short), ((0, 1), long), ((1, 0), long)):
        length = len(caption) - 1
        assert batch["tokens"][row][0] == tokenizer.start
        assert batch["tokens"][row][:length].tolist() == caption[:-1]
        assert batch["labels"][row][:length].tolist() == caption[1:]
        assert batch["labels"][row][length - 1] == tokenizer.end
        assert (batch["labels"][row][length:] == IGNORED).all()
    assert (batch["labels"][1, 1] == IGNORED).all()  # the second image has but one caption


def test_a_caption_too_long_is_cut_without_an_end():
    tokenizer = tiny_captioner().network.tokenizer
    cut = encode_caption("dog " * 50, tokenizer, 10)
    assert len(cut) == 11 and tokenizer.end not in cut


def test_cached_features_are_the_encoders(flickr, tmp_path):
    network = tiny_captioner().network.train()  # as a new one may be
    network.encoder.patch_dropout = 0.5  # which is for learning, not for features
    items = read_split(flickr, "train")
    cache = tmp_path / "cache"
    features = cache_features(network, items, cache, mirror=True, bf16=False)
    assert features.shape == (2, 4, 17, 32) and features.dtype == np.float16
    plain = CaptionDataset(items, network)
    cached = CaptionDataset(items, network, features=features)
    for i in range(4):
        with torch.inference_mode():
            expected = network.encoder(plain[i]["pixel_values"][None])[0]
        torch.testing.assert_close(cached[i]["image_features"], expected, atol=0.01, rtol=0.01)
        assert cached[i]["captions"] == plain[i]["captions"]
    # the same encoder and photos are found again; another encoder's are not mistaken for them
    written = {p: p.stat().st_mtime_ns for p in cache.iterdir()}
    cache_features(network, items, cache, mirror=True, bf16=False)
    assert {p: p.stat().st_mtime_ns for p in cache.iterdir()} == written
    cache_features(tiny_captioner(seed=1).network, items, cache, mirror=True, bf16=False)
    assert len(list(cache.iterdir())) == 2


def test_mirror_shows_both_sides_with_the_words_that_fit(flickr):
    network = tiny_captioner().network
    dataset = CaptionDataset(read_split(flickr, "train"), network, Augmentation(mirror=True))
    seen = {}
    for epoch in range(20):
        dataset.epoch = epoch
        example = dataset[0]
        text = network.tokenizer.tokenizer.decode(example["captions"][0][1:-1])
        seen["left" if "left" in text else "right"] = example["pixel_values"]
    torch.testing.assert_close(seen["left"].flip(-1), seen["right"])
