"""Settings that are kept as `config.json` beside the weights: read whole, or not at all."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from model.errors import CheckpointError, OptionError

Config = TypeVar("Config", bound="SavedConfig")


@dataclass(kw_only=True)
class SavedConfig:
    """What a network that writes text is made of, and how its texts are searched for.

    Attributes:
        FORMAT: what `config.json` names as its model_type.
        vocab_size, max_length: number of tokens, and of positions.
        width, num_heads, mlp_ratio, dropout: of the blocks.
        decoding: what `DecodingOptions` start from with this network.
    """

    FORMAT: ClassVar[str]

    vocab_size: int
    max_length: int
    width: int = 256
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    decoding: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises OptionError for values that make no network."""
        names = ("vocab_size", "max_length", "width", "num_heads")
        check_whole_numbers({name: getattr(self, name) for name in names})
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
        return json.dumps({"model_type": self.FORMAT, **asdict(self)}, indent=2) + "\n"

    def save(self, folder: Path) -> None:
        """Write `config.json` into the folder."""
        (folder / "config.json").write_text(self.to_json_string(), encoding="utf-8")

    @classmethod
    def load(cls: type[Config], folder: Path) -> Config:
        """Read `config.json`; raises CheckpointError when it is not one of ours."""
        path = folder / "config.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise CheckpointError(f"{path}: not valid JSON ({error})") from error
        family = values.pop("model_type", None) if isinstance(values, dict) else None
        if family != cls.FORMAT:
            raise CheckpointError(f"{path}: model_type is {family!r}, not {cls.FORMAT!r}")
        is_required = {
            f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(cls)
        }
        if unknown := sorted(set(values) - set(is_required)):
            raise CheckpointError(f"{path}: unknown settings: {', '.join(unknown)}")
        if missing := sorted(
            name for name in is_required if is_required[name] and name not in values
        ):
            raise CheckpointError(f"{path}: without the settings {', '.join(missing)}")
        try:
            return cls(**values)
        except OptionError as error:
            raise CheckpointError(f"{path}: {error}") from error


def check_whole_numbers(numbers: Mapping[str, Any]) -> None:
    """Raises OptionError for a size that is no whole number from 1."""
    for name, value in numbers.items():
        if type(value) is not int or value < 1:
            raise OptionError(f"{name} must be a whole number from 1, not {value!r}")
