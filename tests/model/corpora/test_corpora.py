"""Several folders of captioned photos, read together."""

import shutil

import pytest

from model.errors import OptionError
from training.data import read_corpora, read_corpus


def test_photos_of_several_know_their_corpus(flickr, tmp_path):
    other = shutil.copytree(flickr, tmp_path / "more" / "mine")
    one, two = read_corpora([str(flickr), str(other)])
    assert {item.corpus for item in one.items} == {flickr.name}
    assert [item.name for item in two.items] == [f"mine/{i}.jpg" for i in range(6)]
    assert [item.path for item in two.items] == [item.path for item in read_corpus(other).items]
    (alone,) = read_corpora([str(flickr)])
    assert alone == read_corpus(flickr)


def test_names_that_end_alike_are_told_whole(flickr, tmp_path):
    other = shutil.copytree(flickr, tmp_path / "more" / flickr.name)
    both = [str(flickr), str(other)]
    assert [corpus.items[0].corpus for corpus in read_corpora(both)] == both
    with pytest.raises(OptionError, match="the same folder twice"):
        read_corpora([str(flickr)] * 2)
