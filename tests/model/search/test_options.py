"""Decoding options that make no sense say so."""

import pytest

from model.errors import OptionError
from model.search.options import DecodingOptions


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(num_beams=0), "num_beams must be a whole number from 1"),
        (dict(num_captions=6), "num_captions 6 is more than num_beams 5"),
        (dict(min_length=50), "min_length 50 is more than max_length 40"),
        (dict(temperature=0), "temperature must be above 0"),
        (dict(top_p=1.5), "top_p must be above 0 and at most 1"),
        (dict(beams=3), "unknown option 'beams'; choose from num_beams"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(OptionError, match=message):
        DecodingOptions.create(**options)
