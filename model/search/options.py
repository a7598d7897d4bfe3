"""How captions are searched for: what a user may choose, checked."""

from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from model.errors import OptionError

MAX_BEAMS = 1_000  # more would take all memory


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """How to choose the words.

    Attributes:
        num_beams: hypotheses kept open by beam search; 1 is greedy. Sampling does not use it.
        num_captions: captions for each image, best first; at most `num_beams`, or any number
            with sampling.
        max_length, min_length: in tokens, the end token not counted. A caption that reaches
            `max_length` is cut there, without an end token.
        length_penalty: beams are ranked by log-probability / length ** length_penalty; 0 favours
            short captions, 1 the mean over tokens (Wu et al. 2016, without their constant).
        early_stopping: when beam search is content. "never" before nothing better can be found;
            False and True as transformers has them, for captions equal to its own: when the
            leading beam, ended here, would be no better than the `num_beams` captions found, or
            as soon as there are so many.
        no_repeat_ngram: no sequence of this many tokens occurs twice, capitals or not; 0: any may.
        sample: draw the words at random instead of searching for the likeliest.
        temperature, top_k, top_p: shape of the draw (0 and 1 leave top_k and top_p off).
        seed: the same seed draws the same captions, whatever else is in the batch.
    """

    num_beams: int = 5
    num_captions: int = 1
    max_length: int = 40
    min_length: int = 0
    length_penalty: float = 1.0
    early_stopping: bool | str = "never"
    no_repeat_ngram: int = 0
    sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, lowest in (
            ("num_beams", 1),
            ("num_captions", 1),
            ("max_length", 1),
            ("min_length", 0),
            ("no_repeat_ngram", 0),
            ("top_k", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < lowest:
                raise OptionError(f"{name} must be a whole number from {lowest}, not {value!r}")
            if name == "num_beams" and int(value) > MAX_BEAMS:
                raise OptionError(f"{name} must be at most {MAX_BEAMS:,}, not {value!r}")
            object.__setattr__(self, name, int(value))  # NumPy's too
        for name in ("temperature", "top_p"):
            if not isinstance(getattr(self, name), Real):
                raise OptionError(f"{name} must be a number, not {getattr(self, name)!r}")
        if not isinstance(self.length_penalty, Real) or not abs(self.length_penalty) <= 10:
            raise OptionError(f"length_penalty must be from -10 to 10, not {self.length_penalty!r}")
        if self.seed is not None:
            if not isinstance(self.seed, Integral) or not -(2**63) <= self.seed < 2**64:
                raise OptionError(f"seed must be a whole number of 64 bits, not {self.seed!r}")
            object.__setattr__(self, "seed", int(self.seed))
        if self.min_length > self.max_length:
            raise OptionError(
                f"min_length {self.min_length} is more than max_length {self.max_length}"
            )
        if self.early_stopping not in (False, True, "never"):
            raise OptionError(
                f"early_stopping must be False, True or 'never', not {self.early_stopping!r}"
            )
        if not self.temperature > 0:
            raise OptionError(f"temperature must be above 0, not {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1, not {self.top_p!r}")
        if not self.sample and self.num_captions > self.num_beams:
            raise OptionError(
                f"num_captions {self.num_captions} is more than num_beams {self.num_beams}; "
                "raise num_beams, or sample"
            )

    @classmethod
    def create(cls, **values: Any) -> "DecodingOptions":
        """As the constructor, but an unknown name is an OptionError that lists the valid ones."""
        known = [f.name for f in fields(cls)]
        for name in values:
            if name not in known:
                raise OptionError(f"unknown option {name!r}; choose from {', '.join(known)}")
        return cls(**values)
