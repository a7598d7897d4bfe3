"""Decoding: each way of choosing the words against what it claims to be."""

import itertools

import pytest
import torch

from model.errors import OptionError
from model.search import beams
from model.search.generation import generate
from model.search.options import DecodingOptions
from tests.support.tiny import random_features, tiny_decoder

START, END = 0, 1


def search(decoder, features, **options):
    """All yielded values; the last is the result."""
    with torch.inference_mode():
        cache = decoder.look_at(features)
    return list(generate(decoder, cache, START, [END], DecodingOptions(**options)))


def log_probability(decoder, features, tokens):
    """By teacher forcing, without a cache."""
    with torch.inference_mode():
        inputs = torch.tensor([[START, *tokens[:-1]]])
        logits = decoder(inputs, decoder.look_at(features[None])).logits[0]
    return logits.log_softmax(-1)[range(len(tokens)), list(tokens)]


def test_greedy_takes_the_likeliest_token():
    decoder, features = tiny_decoder(), random_features(3)
    results = search(decoder, features, num_beams=1, max_length=10)[-1]
    for image, (hypothesis,) in zip(features, results, strict=True):
        tokens = hypothesis.tokens
        assert tokens[-1] == END or len(tokens) == 10
        scores = log_probability(decoder, image, tokens)
        assert torch.tensor(hypothesis.log_probabilities).allclose(scores, atol=1e-4)
        with torch.inference_mode():
            inputs = torch.tensor([[START, *tokens[:-1]]])
            logits = decoder(inputs, decoder.look_at(image[None])).logits[0]
        likeliest = logits.argmax(-1).tolist()
        assert likeliest[: min(10, len(tokens))] == list(tokens[:10])


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("seed", range(2))
def test_beam_search_is_exhaustive_search(length_penalty, seed):
    """With as many beams as there are beginnings nothing can be missed."""
    longest, vocab_size = 3, 5
    decoder = tiny_decoder(vocab_size=vocab_size, seed=seed)
    features = random_features(2, seed)
    results = search(
        decoder,
        features,
        num_beams=4**longest,
        max_length=longest,
        num_captions=4,
        length_penalty=length_penalty,
    )[-1]
    open_tokens = [t for t in range(vocab_size) if t != END]
    for image, hypotheses in zip(features, results, strict=True):
        scored = []
        for length in range(longest + 1):
            for beginning in itertools.product(open_tokens, repeat=length):
                tokens = beginning if length == longest else (*beginning, END)
                total = float(log_probability(decoder, image, tokens).sum())
                scored.append((total / len(tokens) ** length_penalty, tokens))
        scored.sort(reverse=True)
        assert [h.tokens for h in hypotheses] == [tokens for _, tokens in scored[:4]]
        assert hypotheses[0].score(length_penalty) == pytest.approx(scored[0][0], abs=1e-4)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, -1.0])
def test_stopping_early_changes_nothing(length_penalty, monkeypatch):
    """The bound is exact: a search that goes on to the end finds the same captions."""
    features, saved = random_features(4), 0
    for seed in range(5):
        decoder = tiny_decoder(seed=seed)
        for num_beams in (2, 3):
            options = dict(num_beams=num_beams, max_length=14, length_penalty=length_penalty)
            early = search(decoder, features, **options)
            with monkeypatch.context() as patient:
                patient.setattr(beams, "_is_settled", lambda *arguments: False)
                late = search(decoder, features, **options)
            assert [h[0].tokens for h in early[-1]] == [h[0].tokens for h in late[-1]]
            saved += len(late) - len(early)
    # these captions are so unsure that by their mean a longer one might always have won
    assert saved > 0 or length_penalty == 1.0


def test_batch_changes_no_caption():
    decoder, features = tiny_decoder(seed=3), random_features(5)
    for options in (
        dict(num_beams=1),
        dict(num_beams=4, num_captions=2),
        dict(sample=True, seed=7, num_captions=3),
    ):
        together = search(decoder, features, max_length=12, **options)[-1]
        for image, expected in zip(features, together, strict=True):
            alone = search(decoder, image[None], max_length=12, **options)[-1][0]
            assert [h.tokens for h in alone] == [h.tokens for h in expected]


def test_captions_are_cut_at_max_length():
    decoder, features = tiny_decoder(seed=5), random_features(4)
    with torch.no_grad():
        decoder.token_embedding.weight[END].zero_()  # it hardly ever wants to end
    for options in (dict(num_beams=1), dict(num_beams=3), dict(sample=True, seed=0)):
        for hypotheses in search(decoder, features, max_length=6, **options)[-1]:
            for hypothesis in hypotheses:
                assert len(hypothesis.tokens) == 6 or hypothesis.tokens[-1] == END
                assert END not in hypothesis.tokens[:-1] and len(hypothesis.tokens) <= 6


@pytest.mark.parametrize("options", [dict(num_beams=1), dict(num_beams=4), dict(sample=True)])
def test_min_length_and_no_repeats(options):
    features = random_features(3)
    for seed in range(5):
        decoder = tiny_decoder(seed=seed)
        results = search(
            decoder, features, min_length=5, max_length=12, no_repeat_ngram=2, **options
        )[-1]
        for hypotheses in results:
            for hypothesis in hypotheses:
                tokens = tuple(token for token in hypothesis.tokens if token != END)
                assert len(tokens) >= 5
                pairs = list(itertools.pairwise(tokens))
                assert len(pairs) == len(set(pairs))


def test_no_repeated_token_leaves_a_stuck_caption_to_end():
    decoder = tiny_decoder(vocab_size=4, seed=2)
    for hypotheses in search(
        decoder, random_features(2), num_beams=3, no_repeat_ngram=1, min_length=9, max_length=12
    )[-1]:
        assert len(hypotheses[0].tokens) == 4 and hypotheses[0].tokens[-1] == END


def test_several_captions_are_distinct_and_ordered():
    decoder, features = tiny_decoder(seed=1), random_features(2)
    for hypotheses in search(decoder, features, num_beams=6, num_captions=4, max_length=10)[-1]:
        assert len({h.tokens for h in hypotheses}) == 4
        scores = [h.score(1.0) for h in hypotheses]
        assert scores == sorted(scores, reverse=True)


def test_sampling_follows_the_distribution():
    """First tokens of many draws, against the model's own probabilities."""
    decoder, features = tiny_decoder(vocab_size=6, scale=4.0), random_features(1)
    count = 4000
    drawn = search(decoder, features, sample=True, seed=0, num_captions=count, max_length=1)[0][0]
    counts = torch.bincount(torch.tensor([h.tokens[0] for h in drawn]), minlength=6)
    with torch.inference_mode():
        expected = decoder(torch.tensor([[START]]), decoder.look_at(features)).logits[0, 0]
    torch.testing.assert_close(counts / count, expected.softmax(-1), atol=0.03, rtol=0)


def test_narrow_sampling_is_greedy():
    decoder, features = tiny_decoder(seed=4), random_features(3)
    greedy = search(decoder, features, num_beams=1, max_length=8)[-1]
    for options in (dict(top_k=1), dict(top_p=1e-6), dict(temperature=1e-4)):
        assert search(decoder, features, sample=True, seed=1, max_length=8, **options)[-1] == greedy


def test_seed():
    decoder, features = tiny_decoder(seed=6, scale=4.0), random_features(2)
    options = dict(sample=True, max_length=10, num_captions=3)
    first = search(decoder, features, seed=1, **options)[-1]
    assert search(decoder, features, seed=1, **options)[-1] == first
    assert search(decoder, features, seed=2, **options)[-1] != first


def test_stream_grows_to_the_result():
    decoder, features = tiny_decoder(seed=2), random_features(2)
    steps = search(decoder, features, num_beams=4, max_length=10)
    for step, ranked in enumerate(steps):
        for hypotheses in ranked:
            assert len(hypotheses) == 1
            assert len(hypotheses[0].tokens) <= step + 1
    assert all(h[0].tokens[-1] == END or len(h[0].tokens) == 10 for h in steps[-1])


def test_longer_than_the_decoder():
    with pytest.raises(OptionError, match="max_length 40 is more than this captioner's 15 tokens"):
        search(tiny_decoder(), random_features(1))


@pytest.mark.parametrize(
    "options", [{"num_beams": 1}, {"num_beams": 3}, {"sample": True, "seed": 4}]
)
def test_a_prefix_is_kept_and_changes_nothing_else(options):
    """Begun with its own first tokens, a greedy caption comes out the same."""
    decoder, features = tiny_decoder(), random_features(2)
    with torch.inference_mode():
        cache = decoder.look_at(features)
    decoding = DecodingOptions(max_length=9, **options)
    prefix = (5, 3, 7)
    *_, results = generate(decoder, cache, START, [END], decoding, prefix)
    for image, hypotheses in enumerate(results):
        tokens, log_probabilities = hypotheses[0]
        assert tokens[:3] == prefix and len(tokens) > 3
        expected = log_probability(decoder, features[image], tokens)
        torch.testing.assert_close(torch.tensor(log_probabilities), expected, rtol=0, atol=1e-4)
    if options == {"num_beams": 1}:
        *_, whole = generate(decoder, cache, START, [END], decoding)
        first = whole[0][0].tokens
        *_, again = generate(decoder, cache, START, [END], decoding, first[:2])
        assert again[0][0].tokens == first


def test_a_prefix_that_does_not_fit():
    decoder = tiny_decoder()
    with torch.inference_mode():
        cache = decoder.look_at(random_features(1))
    with pytest.raises(OptionError, match="the beginning has 4 tokens; it may have at most 3"):
        generate(decoder, cache, START, [END], DecodingOptions(max_length=3), (5, 3, 7, 2))
