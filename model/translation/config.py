"""What a translator is made of, kept as `config.json` beside the weights."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from model.errors import CheckpointError, OptionError

FORMAT = "captionlens-translator"
_WHOLE_NUMBERS = (
    "vocab_size",
    "max_length",
    "width",
    "num_heads",
    "num_encoder_layers",
    "num_decoder_layers",
)


@dataclass(kw_only=True)
class TranslatorConfig:
    """Sizes of both halves, and how translations are searched for.

    Attributes:
        vocab_size, max_length: number of tokens, and of positions in the encoder and in the
            decoder.
        width, num_heads, mlp_ratio, dropout: of the blocks of both halves.
        decoding: what `DecodingOptions` start from with this translator.
    """

    vocab_size: int
    max_length: int = 128
    width: int = 256
    num_encoder_layers: int = 3
    num_decoder_layers: int = 3
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.2
    decoding: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises OptionError for values that make no translator."""
        for name in _WHOLE_NUMBERS:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise OptionError(f"{name} must be a whole number from 1, not {value!r}")
        for name in ("mlp_ratio", "dropout"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise OptionError(f"{name} must be a finite number, not {value!r}")
        if self.width % self.num_heads:
            raise OptionError(f"width {self.width} is not a multiple of num_heads {self.num_heads}")
        if not isinstance(self.decoding, dict):
            raise OptionError(f"decoding must be decoding options, not {self.decoding!r}")

    def to_json_string(self) -> str:
        """As `config.json` holds it (transformers' Trainer logs it under this name too)."""
        return json.dumps({"model_type": FORMAT, **asdict(self)}, indent=2) + "\n"

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text(self.to_json_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TranslatorConfig":
        """Read `config.json`; raises CheckpointError when it is not one of ours."""
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise CheckpointError(f"{path}: not valid JSON ({error})") from error
        family = values.pop("model_type", None) if isinstance(values, dict) else None
        if family != FORMAT:
            raise CheckpointError(f"{path}: model_type is {family!r}, not a {FORMAT!r}")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CheckpointError(f"{path}: unknown settings: {', '.join(unknown)}")
        try:
            return cls(**values)
        except (TypeError, OptionError) as error:  # TypeError: a required setting is not there
            raise CheckpointError(f"{path}: {error}") from error
