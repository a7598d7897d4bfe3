"""What a captioner is made of, kept as `config.json` beside the weights."""

from dataclasses import dataclass
from typing import Any

from model.errors import OptionError
from model.network.saved_config import SavedConfig, check_whole_numbers

FORMAT = "captionlens"


@dataclass(kw_only=True)
class CaptionerConfig(SavedConfig):
    """Sizes of both halves; see `SavedConfig` for those of the decoder's blocks.

    Attributes:
        encoder: configuration of the image encoder, as transformers' `config.json` has it.
        image_size: (height, width) of the encoder's input in pixels. Photos are squashed to it,
            so that the map covers the whole photo.
        num_layers: of the decoder.
        project_image: see `TextDecoder`.
        merged_patches: patches that each layer of the encoder merges into others like them: a
            faster encoder, coarser maps; 0 for none. See `token_merging`.
        memory_layers: of the encoder of remembered captions; 0 for a captioner without one.
    """

    FORMAT = FORMAT

    encoder: dict[str, Any]
    image_size: tuple[int, int]
    max_length: int = 48
    num_layers: int = 4
    project_image: bool = False
    merged_patches: int = 0
    memory_layers: int = 0

    def __post_init__(self) -> None:
        """Raises OptionError for values that make no captioner."""
        if not isinstance(self.encoder, dict) or not isinstance(
            self.encoder.get("model_type"), str
        ):
            raise OptionError("encoder must be a configuration with a model_type")
        if not isinstance(self.image_size, list | tuple) or len(self.image_size) != 2:
            raise OptionError(f"image_size must be height and width, not {self.image_size!r}")
        height, width = self.image_size
        self.image_size = (height, width)
        numbers = {"num_layers": self.num_layers, "image height": height, "image width": width}
        if "hidden_size" in self.encoder:
            numbers["encoder.hidden_size"] = self.encoder["hidden_size"]
        for name in ("merged_patches", "memory_layers"):
            if getattr(self, name) != 0:
                numbers[name] = getattr(self, name)
        check_whole_numbers(numbers)
        super().__post_init__()

    @property
    def image_width(self) -> int:
        """Width of the image features."""
        return self.encoder["hidden_size"]
