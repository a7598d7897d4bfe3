"""What the families share whose language model holds the photo in its prompt."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from model.checkpoint.families.prompt_template import ANSWER_LENGTH, PromptTemplate, write_chat
from model.checkpoint.families.shared import (
    convert_generation_config,
    create_tokenizer,
    find_token_ids,
    read_model,
)
from model.checkpoint.limits import MAX_SIDE
from model.errors import CheckpointError, OptionError
from model.network.config import CaptionerConfig
from model.network.image_processor import ImageProcessor, squash_photos
from model.network.network import Network
from model.network.prompt_decoder import PromptDecoder
from model.network.prompt_encoder import PromptEncoder

QUESTION = "Describe the image in one short sentence."
MAX_WORDS = 512  # tokens of an answer, where the model has positions for more


def read_prompted_network(
    kind: type[PreTrainedModel],
    folder: Path,
    allow_pickle: bool,
    *,
    parts: tuple[str, ...],
    joined_patches: int,
    cells_a_side: int | None = None,
    template: str,
    embed: Callable[[Any, Tensor], Tensor],
    around: tuple[str, str] = ("", ""),
    mark: str | None = None,
    question: str = QUESTION,
    num_prefix_tokens: int = 0,
    num_last_tokens: int = 0,
    num_levels: int = 1,
    decoder_kind: type[PromptDecoder] = PromptDecoder,
    known_settings: Collection[str] = (),
) -> Network:
    """The network in a folder with the hub's layout.

    Args:
        parts: names of the image half's modules, the tower first.
        joined_patches: patches a side that one feature stands for.
        cells_a_side: of the photo's grid, where the model takes photos of any size.
        template: the prompt where there is no chat template, with {photo} and {question}.
        embed: transformers' base model and pixel_values (B, 3, height, width) -> features
            (B, S, width of the words · num_levels), those that belong to no patch first.
        around: what stands in the prompt before and behind the photo's placeholders.
        mark: what stands for the photo in a chat template, where it is not the placeholder.
        question: what is asked where the user asks nothing.
        num_prefix_tokens: features of a photo before its grid.
        num_last_tokens: how many of these stand behind the grid in the prompt.
        num_levels: vectors that a feature is made of: the language model may read several.
        known_settings: see `convert_generation_config`.

    Raises CheckpointError, in one line, for weights that do not fit or that are pickled, and for
    settings that cannot be followed.
    """
    _check_layers(kind, folder)
    model, tokenizer, processor = read_model(kind, folder, allow_pickle)
    vision = cast(PreTrainedConfig, model.config.vision_config)
    text = model.config.get_text_config()
    cell = _pair(vision.patch_size)[0] * joined_patches
    height, width = _pair(cells_a_side * cell if cells_a_side else vision.image_size)
    if max(height, width) > MAX_SIDE:
        raise CheckpointError(f"{folder}: its photos have {height} pixels, more than {MAX_SIDE}")
    # of 384 pixels in patches of 14 the model's first layer would leave out the last 6
    size = (height // cell * cell, width // cell * cell)
    core: Any = model.base_model
    encoder = PromptEncoder(
        [getattr(core, name) for name in parts],
        lambda pixels: embed(core, pixels),
        size,
        cell,
        num_prefix_tokens,
    )
    placeholder = model.config.image_token_id
    written = cast(str, tokenizer.convert_ids_to_tokens(placeholder))
    photo = around[0] + written * encoder.num_tokens + around[1]
    chat = write_chat(tokenizer, folder)
    if chat is None:
        before, behind = template.format(photo=photo, question="\0").split("\0")
    else:
        before, behind = (piece.replace(mark or written, photo) for piece in chat)
    prompt_template = PromptTemplate(tokenizer, before, behind)
    configs = [model.generation_config, text]
    ends = find_token_ids("eos_token_id", configs, text.vocab_size, folder)
    # start is the last token of each prompt
    words = create_tokenizer(tokenizer, ends[0], ends, text.vocab_size, folder)
    words.begins_with_space = prompt_template.begins_with_space
    plain: ImageProcessor = squash_photos(processor, size)

    def build(asked: str) -> Network:
        ids = prompt_template.tokenize(asked)
        if ids.count(placeholder) != encoder.num_tokens:
            raise OptionError("the photo's placeholder is not once in the prompt")
        positions = text.max_position_embeddings - len(ids) + 1
        if positions < 2:
            raise OptionError(
                f"its prompt has {len(ids)} tokens, its decoder "
                f"{text.max_position_embeddings} positions"
            )
        positions = min(positions, MAX_WORDS + 1)
        config = CaptionerConfig(
            encoder=vision.to_diff_dict() | {"hidden_size": text.hidden_size * num_levels},
            image_size=size,
            vocab_size=text.vocab_size,
            max_length=positions,
            width=text.hidden_size,
            num_layers=text.num_hidden_layers,
            num_heads=text.num_attention_heads,
            decoding=convert_generation_config(
                model.generation_config,
                positions,
                folder,
                prompt_length=len(ids),
                unset_length=ANSWER_LENGTH,
                known=known_settings,
            ),
        )
        decoder = decoder_kind(model, ids, placeholder, positions, num_last_tokens)
        network = Network(config, words.begin_with(ids[-1]), plain, encoder, decoder)
        return network.take_prompts(asked, build).eval()

    try:
        return build(question)
    except OptionError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _check_layers(kind: type[PreTrainedModel], folder: Path) -> None:
    """Raises CheckpointError for a language model with layers of another kind than attention."""
    config = cast(type[PreTrainedConfig], kind.config_class).from_pretrained(folder)
    layers = getattr(config.get_text_config(), "layer_types", None) or ()
    if others := sorted(set(layers) - {"full_attention", "sliding_attention"}):
        raise CheckpointError(
            f"{folder}: some of its layers have no attention weights ({', '.join(others)})"
        )


def _pair(side: int | list[int]) -> tuple[int, int]:
    """(height, width), which some configurations give as one number."""
    return (side, side) if isinstance(side, int) else (side[0], side[1])
