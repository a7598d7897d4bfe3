"""What the families share whose language model holds the photo in its prompt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from model.checkpoint.families.shared import (
    convert_generation_config,
    create_tokenizer,
    find_token_id,
    read_model,
)
from model.errors import CheckpointError
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
    photo: tuple[str, str],
    template: str,
    embed: Callable[[Any, Tensor], Tensor],
    num_prefix_tokens: int = 0,
) -> Network:
    """The network in a folder with the hub's layout.

    Args:
        parts: names of the image half's modules, the tower first.
        joined_patches: patches a side that one feature stands for.
        photo: what stands in the prompt before and behind the photo's placeholders.
        template: the prompt where the tokenizer has no chat template, with {photo} and {question}.
        embed: transformers' base model and pixel_values (B, 3, height, width) -> features
            (B, S, width of the words).
        num_prefix_tokens: features of a photo before its grid.

    Raises CheckpointError, in one line, for weights that do not fit or that are pickled, and for
    settings that cannot be followed.
    """
    model, tokenizer, processor = read_model(kind, folder, allow_pickle)
    vision = cast(PreTrainedConfig, model.config.vision_config)
    text = model.config.get_text_config()
    size, patch = _pair(vision.image_size), _pair(vision.patch_size)[0]
    core: Any = model.base_model
    encoder = PromptEncoder(
        [getattr(core, name) for name in parts],
        lambda pixels: embed(core, pixels),
        size,
        patch * joined_patches,
        num_prefix_tokens,
    )
    placeholder = model.config.image_token_id
    prompt = _write_prompt(tokenizer, photo, placeholder, encoder.num_tokens, template)
    ids = _read_prompt(tokenizer, prompt)
    if ids.count(placeholder) != encoder.num_tokens:
        raise CheckpointError(f"{folder}: its tokenizer does not know the photo's placeholder")
    positions = text.max_position_embeddings - len(ids) + 1
    if positions < 2:
        raise CheckpointError(
            f"{folder}: its prompt has {len(ids)} tokens, its decoder "
            f"{text.max_position_embeddings} positions"
        )
    positions = min(positions, MAX_WORDS + 1)
    end = find_token_id("eos_token_id", [model.generation_config, text], text.vocab_size, folder)
    config = CaptionerConfig(
        encoder=vision.to_diff_dict() | {"hidden_size": text.hidden_size},
        image_size=size,
        vocab_size=text.vocab_size,
        max_length=positions,
        width=text.hidden_size,
        num_layers=text.num_hidden_layers,
        num_heads=text.num_attention_heads,
        decoding=convert_generation_config(
            model.generation_config, positions, folder, prompt_length=len(ids)
        ),
    )
    words = create_tokenizer(tokenizer, ids[-1], end, text.vocab_size, folder)
    # an answer behind "Assistant:" begins with a space, one on a new line does not
    words.begins_with_space = not prompt[-1].isspace()
    decoder = PromptDecoder(model, ids, placeholder, positions)
    plain: ImageProcessor = squash_photos(processor, size)
    return Network(config, words, plain, encoder, decoder).eval()


def _write_prompt(
    tokenizer: PreTrainedTokenizerFast,
    photo: tuple[str, str],
    placeholder: int,
    num_tokens: int,
    template: str,
) -> str:
    """The prompt with the photo's placeholders in it."""
    mark = cast(str, tokenizer.convert_ids_to_tokens(placeholder))
    if tokenizer.chat_template:
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        message: Any = [{"role": "user", "content": content}]
        written = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        prompt = cast(str, written)
    else:
        prompt = template.format(photo=mark, question=QUESTION)
    return prompt.replace(mark, photo[0] + mark * num_tokens + photo[1])


def _read_prompt(tokenizer: PreTrainedTokenizerFast, prompt: str) -> list[int]:
    """The ids of a prompt's tokens, with what the tokenizer itself puts before a text."""
    has_start = bool(tokenizer.bos_token) and prompt.startswith(tokenizer.bos_token)
    return list(tokenizer(prompt, add_special_tokens=not has_start)["input_ids"])


def _pair(side: int | list[int]) -> tuple[int, int]:
    """(height, width), which some configurations give as one number."""
    return (side, side) if isinstance(side, int) else (side[0], side[1])
