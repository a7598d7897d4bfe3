"""What a translator is made of, kept as `config.json` beside the weights."""

from dataclasses import dataclass

from model.network.saved_config import SavedConfig, check_whole_numbers

FORMAT = "captionlens-translator"


@dataclass(kw_only=True)
class TranslatorConfig(SavedConfig):
    """Sizes of both halves; see `SavedConfig` for those of the blocks, which both share.

    Attributes:
        num_encoder_layers, num_decoder_layers: of the two halves.
    """

    FORMAT = FORMAT

    max_length: int = 128
    num_encoder_layers: int = 3
    num_decoder_layers: int = 3
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Raises OptionError for values that make no translator."""
        names = ("num_encoder_layers", "num_decoder_layers")
        check_whole_numbers({name: getattr(self, name) for name in names})
        super().__post_init__()
