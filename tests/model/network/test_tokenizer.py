"""Sentences, words and tokens."""

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from model.errors import CheckpointError
from model.network.tokenizer import CaptionTokenizer, as_sentence, can_read
from tests.support.tiny import SENTENCES


@pytest.fixture(scope="module")
def tokenizer():
    return CaptionTokenizer.train(SENTENCES, 300)


@pytest.mark.parametrize(
    "caption, sentence",
    [
        ("a dog runs .", "A dog runs."),
        ("A dog runs", "A dog runs."),
        ("  a dog ,  a cat !", "A dog, a cat!"),
        ("Ein Hund läuft .", "Ein Hund läuft."),
        ("he said ... no ?", "He said... no?"),
        ("at 5 .5 metres", "At 5 .5 metres."),
        ("", ""),
    ],
)
def test_as_sentence(caption, sentence):
    assert as_sentence(caption) == sentence


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        "Unheard-of zyzzyva's naïve 🐕 日本 words…",
        "<|end|> <|start|> as text",
        "<img src=x onerror=alert(1)>",
        "a - b -- c",
        "it's 3,5 (or 4)!",
    ],
)
def test_words_keep_their_order_and_their_tokens(tokenizer, text):
    tokens, words = tokenizer.encode(text)
    assert [word.text for word in words] == text.split()
    assert words[0].start == 0 and words[-1].stop == len(tokens)
    for word, after in zip(words, words[1:], strict=False):
        assert word.start < word.stop == after.start
    assert tokenizer.start not in tokens and tokenizer.end not in tokens
    assert tokenizer.words(tokens) == words  # and back


def test_punctuation_belongs_to_the_word_before(tokenizer):
    for text in ("A dog , a man .", "A dog, a man."):
        assert [w.text for w in tokenizer.encode(text)[1]] == ["A", "dog,", "a", "man."]
    alone = tokenizer.tokenizer.encode("A dog .").ids  # as a decoder might write it
    assert [w.text for w in tokenizer.words(alone)] == ["A", "dog."]


def test_encoding_word_by_word_is_encoding_the_sentence(tokenizer):
    for text in SENTENCES:
        assert tokenizer.encode(text)[0] == tokenizer.tokenizer.encode(text).ids


def test_odd_token_sequences_still_have_words(tokenizer):
    assert tokenizer.words([]) == []
    half = tokenizer.encode("日")[0][:1]  # not valid UTF-8
    assert tokenizer.words(half)[0].text == "\ufffd"
    space = tokenizer.tokenizer.token_to_id("Ġ")
    words = tokenizer.words([*tokenizer.encode("dog")[0], space, space])
    assert [w.text for w in words] == ["dog"] and words[0].stop == words[0].start + 2 + len(
        tokenizer.encode("dog")[0]
    )


def test_saved_is_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = CaptionTokenizer.load(tmp_path)
    assert loaded.encode(SENTENCES[0]) == tokenizer.encode(SENTENCES[0])
    assert (loaded.start, loaded.end) == (tokenizer.start, tokenizer.end)


@pytest.mark.parametrize("content", [None, "no json", '{"model": 1}'])
def test_broken_tokenizer_file(tmp_path, content):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match="tokenizer.json: (missing|not a tokenizer)"):
        CaptionTokenizer.load(tmp_path)


def test_capitals_are_like_small_letters():
    tokenizer = CaptionTokenizer.train(["A man sees a man.", "The Dog and the dog."] * 3, 400)
    ids = tokenizer.tokenizer.get_vocab()
    assert tokenizer.equal_tokens[ids["A"]] == ids["Ġa"]
    assert all(
        token not in tokenizer.equal_tokens for token in (ids["Ġa"], ids["Ġman"], tokenizer.end)
    )
    for one, other in tokenizer.equal_tokens.items():
        texts = [tokenizer.tokenizer.id_to_token(i) for i in (one, other)]
        assert texts[0].lower().lstrip("ġĠ") == texts[1].lstrip("Ġ") and one != other


@pytest.mark.parametrize("kind", ["metaspace", "prepended", "replaced"])
def test_words_of_sentencepiece(kind):
    """Some put a space before a text themselves (Llama), some do not (Gemma)."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # pieces do not reach across spaces
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(special_tokens=special, vocab_size=60, show_progress=False)
    tokenizer.train_from_iterator(["A dog runs.", "A cat and a dog."] * 9, trainer)
    tokenizer.decoder = decoders.Metaspace()
    if kind != "metaspace":
        tokenizer = Tokenizer(tokenizer.model)
        steps = [normalizers.Prepend("▁")] if kind == "prepended" else []
        tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Replace("▁", " ")
        tokenizer.add_special_tokens(special)
    assert can_read(tokenizer)
    expected = tokenizer.encode("A dog runs and runs.").ids
    words = CaptionTokenizer(tokenizer, 1, [2])
    tokens, spans = words.encode("A dog runs and runs.")
    assert tokens == expected
    assert [word.text for word in spans] == ["A", "dog", "runs", "and", "runs."]
    assert words.words(tokens) == spans
    assert 2 not in words.encode("dog </s>")[0]


def test_unigram_is_not_read():
    """Its special tokens are pieces like any other: a typed "</s>" would be the end."""
    assert not can_read(Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0)], 0)))
