"""The image half of a language model that holds the photo in its prompt: what the prompt's
placeholders are replaced by."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from model.errors import CheckpointError, OptionError
from model.network.encoder import ImageEncoder


class PromptEncoder(ImageEncoder):
    """As `ViT`, around an image tower of transformers and what brings its patches to the width of
    the words.

    Args:
        parts: the tower first.
        embed: pixel_values (B, 3, height, width) -> features (B, S, width), by these parts.
        image_size: (height, width) of the input in pixels.
        cell_size: side in pixels of what one feature stands for: a patch, or several joined.
        num_prefix_tokens: see `ImageEncoder`.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        embed: Callable[[Tensor], Tensor],
        image_size: tuple[int, int],
        cell_size: int,
        num_prefix_tokens: int = 0,
    ):
        super().__init__(image_size, cell_size, num_prefix_tokens)
        self.parts = nn.ModuleList(parts)
        self._embed = embed

    def list_blocks(self) -> Sequence[nn.Module]:
        """See `ImageEncoder.list_blocks`: each has them in a list, whose name differs."""
        lists = (m for m in self.parts[0].modules() if isinstance(m, nn.ModuleList))
        return cast(Sequence[nn.Module], max(lists, key=len))

    def list_final_norms(self) -> Iterable[nn.Module]:
        return [m for m in self.parts[0].children() if isinstance(m, nn.LayerNorm)]

    def encode(
        self,
        pixel_values: Tensor,
        visible_patches: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """See `ImageEncoder.encode`."""
        if visible_patches is not None:
            raise OptionError(
                "this image encoder cannot leave patches out: the prompt has a place for each"
            )
        if need_weights:
            raise OptionError(
                "this image encoder cannot be rolled out: what the words see is not its patches "
                "but what is made of them"
            )
        features = self._embed(pixel_values)
        if features.shape[1] != self.num_tokens:
            raise CheckpointError(
                f"the encoder gave {features.shape[1]} tokens; its config promises "
                f"{self.num_prefix_tokens} + {self.grid_size[0]} × {self.grid_size[1]}"
            )
        return features, None
