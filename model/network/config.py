"""What a captioner is made of: small, checked, and kept as `config.json` beside the weights."""

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from model.errors import CheckpointError, OptionError

FORMAT = "captionlens"
_WHOLE_NUMBERS = ("vocab_size", "max_length", "width", "num_layers", "num_heads")


@dataclass(kw_only=True)
class CaptionerConfig:
    """Sizes of both halves, and how captions are searched for.

    Attributes:
        encoder: configuration of the transformers backbone, as its `config.json` has it.
        image_size: (height, width) of the encoder's input in pixels. Photos are squashed to it,
            so that the map covers the whole photo.
        vocab_size, max_length: number of tokens, and of positions in the decoder.
        width, num_layers, num_heads, mlp_ratio, dropout: the decoder.
        project_image: see `TextDecoder`.
        decoding: what `DecodingOptions` start from with this checkpoint.
    """

    encoder: dict[str, Any]
    image_size: tuple[int, int]
    vocab_size: int
    max_length: int = 48
    width: int = 256
    num_layers: int = 4
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    project_image: bool = False
    decoding: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises OptionError for values that make no captioner."""
        numbers = {name: getattr(self, name) for name in _WHOLE_NUMBERS}
        if not isinstance(self.encoder, dict) or not isinstance(
            self.encoder.get("model_type"), str
        ):
            raise OptionError("encoder must be a configuration with a model_type")
        if "hidden_size" in self.encoder:
            numbers["encoder.hidden_size"] = self.encoder["hidden_size"]
        if not isinstance(self.image_size, list | tuple) or len(self.image_size) != 2:
            raise OptionError(f"image_size must be height and width, not {self.image_size!r}")
        height, width = self.image_size
        self.image_size = (height, width)
        numbers |= dict(zip(("image height", "image width"), self.image_size, strict=True))
        for name, value in numbers.items():
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

    @property
    def image_width(self) -> int:
        """Width of the image features."""
        return self.encoder["hidden_size"]

    def to_json_string(self) -> str:
        """As `config.json` holds it (transformers' Trainer logs it under this name too)."""
        return json.dumps({"model_type": FORMAT, **asdict(self)}, indent=2) + "\n"

    def save(self, folder: Path) -> None:
        (folder / "config.json").write_text(self.to_json_string(), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "CaptionerConfig":
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
            raise CheckpointError(f"{path}: model_type is {family!r}, not a {FORMAT!r} captioner")
        is_required = {
            f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(cls)
        }
        if unknown := sorted(set(values) - set(is_required)):
            raise CheckpointError(f"{path}: unknown settings: {', '.join(unknown)}")
        if missing := [name for name in is_required if is_required[name] and name not in values]:
            raise CheckpointError(f"{path}: without the settings {', '.join(missing)}")
        try:
            return cls(**values)
        except OptionError as error:
            raise CheckpointError(f"{path}: {error}") from error
