"""What a translator is made of, kept as `config.json` beside the weights."""

import math
from dataclasses import dataclass, field

from model.errors import OptionError
from model.network.saved_config import SavedConfig, check_whole_numbers

FORMAT = "captionlens-translator"


@dataclass(kw_only=True)
class TranslatorConfig(SavedConfig):
    """Sizes of both halves; see `SavedConfig` for those of the blocks, which both share.

    Attributes:
        num_encoder_layers, num_decoder_layers: of the two halves.
        alignment_layer, alignment_head: whose cross-attention says what a word looked at, counted
            from 0; None: the mean over all.
        unfamiliar_below: for a language, the mean log-probability a token below which a translation
            is of a sentence unlike those of the training. `training.calibrate_translator` measures
            both, as other weights need other values.
    """

    FORMAT = FORMAT

    max_length: int = 128
    num_encoder_layers: int = 3
    num_decoder_layers: int = 3
    dropout: float = 0.2
    alignment_layer: int | None = None
    alignment_head: int | None = None
    unfamiliar_below: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises OptionError for values that make no translator."""
        names = ("num_encoder_layers", "num_decoder_layers")
        check_whole_numbers({name: getattr(self, name) for name in names})
        super().__post_init__()
        for name, count in (
            ("alignment_layer", self.num_decoder_layers),
            ("alignment_head", self.num_heads),
        ):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 <= value < count):
                raise OptionError(f"{name} must be from 0 to {count - 1}, not {value!r}")
        thresholds = self.unfamiliar_below
        if not isinstance(thresholds, dict) or not all(
            isinstance(value, int | float) and math.isfinite(value) for value in thresholds.values()
        ):
            raise OptionError(f"unfamiliar_below must be numbers by language, not {thresholds!r}")
