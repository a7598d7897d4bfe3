"""What every family of transformers' captioners shares: reading the hub's files, and refusing in
one line those that cannot be followed."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from model.checkpoint.hub import ITS_WEIGHTS_ARE_PICKLED, PICKLED, SAFE, WEIGHTS
from model.checkpoint.limits import (
    check_memory,
    check_settings,
    check_weights,
    count_stored_numbers,
)
from model.checkpoint.problems import check_fit
from model.errors import CheckpointError, OptionError
from model.network.config import CaptionerConfig
from model.network.encoder_families import convert_encoder
from model.network.image_processor import ImageProcessor, load_image_processor
from model.network.network import Network
from model.network.prompt_decoder import OneSequenceDecoder
from model.network.tokenizer import CaptionTokenizer, can_read
from model.network.transformers_decoder import TransformersDecoder
from model.search.options import DecodingOptions

Model = TypeVar("Model", bound=PreTrainedModel)

# Tensors that nothing here uses: the encoder's pooler, and constants that old files keep.
UNUSED = (
    *("position_ids", "relative_position_index", "attn.bias", "attn.masked_bias"),
    *("crossattention.bias", "crossattention.masked_bias"),
)
# of `generate`'s settings, those that become our decoding options
FOLLOWED = {"num_beams", "length_penalty", "early_stopping", "max_length", "min_length"}
FOLLOWED |= {"max_new_tokens", "no_repeat_ngram_size", "do_sample", "temperature", "top_k", "top_p"}
# and those that choose no words
HARMLESS = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "use_cache"}
HARMLESS |= {"output_attentions", "output_hidden_states", "return_dict_in_generate"}
HARMLESS |= {"transformers_version", "_from_model_config", "num_return_sequences", "output_scores"}
# and those that are off at 1; all others are at 0
OFF_AT_ONE = {"repetition_penalty", "num_beam_groups", "typical_p", "guidance_scale"}
OFF_AT_ONE |= {"encoder_repetition_penalty"}


def read_model(
    kind: type[Model], folder: Path, allow_pickle: bool
) -> tuple[Model, PreTrainedTokenizerFast, ImageProcessor]:
    """The model in float32, its tokenizer and its image processor.

    Raises CheckpointError for files that are missing or pickled, and for tensors that do not fit:
    they are listed.
    """
    for names in (
        ("tokenizer.json", "vocab.json", "vocab.txt"),
        ("preprocessor_config.json", "processor_config.json"),
    ):
        if not any((folder / name).is_file() for name in names):
            raise CheckpointError(f"{folder}: {' or '.join(names)} is missing")
    settings = folder / "generation_config.json"
    try:  # transformers would take its defaults for a file that it cannot read
        if settings.is_file():
            json.loads(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{settings}: not valid JSON ({error})") from error
    safe = any((folder / name).is_file() for name in (WEIGHTS, f"{WEIGHTS}.index.json"))
    if not safe and not any((folder / n).is_file() for n in (PICKLED, f"{PICKLED}.index.json")):
        raise CheckpointError(f"{folder / WEIGHTS}: missing")
    if not safe and not allow_pickle:
        raise CheckpointError(f"{folder}: {ITS_WEIGHTS_ARE_PICKLED}")
    check_settings(folder)
    config = cast(type[PreTrainedConfig], kind.config_class).from_pretrained(folder)
    paths = folder.glob(f"{SAFE}*.safetensors") if safe else folder.glob("pytorch_model*.bin")
    stored = count_stored_numbers(paths)
    check_weights(folder, stored, lambda: kind(config))
    check_memory(folder, stored)
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # what does not fit is said below, in one line
    logging.disable_progress_bar()
    try:
        loaded: Any = kind.from_pretrained(
            folder,
            use_safetensors=safe,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed with the rest
        )
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    model: Model
    model, loading_info = loaded  # a pair, as `output_loading_info` asks for
    problems = {"not finite": [k for k, v in model.state_dict().items() if not v.isfinite().all()]}
    for problem, name in (
        ("missing", "missing_keys"),
        ("unexpected", "unexpected_keys"),
        ("wrong shape", "mismatched_keys"),
    ):
        keys = [key if isinstance(key, str) else key[0] for key in loading_info[name]]
        problems[problem] = sorted(
            k for k in keys if not k.startswith("encoder.pooler.") and not k.endswith(UNUSED)
        )
    check_fit(folder, problems)
    loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer = cast(PreTrainedTokenizerFast, loaded)
    if not can_read(tokenizer.backend_tokenizer):
        raise CheckpointError(
            f"{folder}: its tokenizer is neither BPE nor WordPiece, so its words are not known"
        )
    processor = load_image_processor(folder)
    return model, tokenizer, processor


def assemble_network(
    folder: Path,
    *,
    encoder: PreTrainedModel,
    decoder: TransformersDecoder | OneSequenceDecoder | None,
    text_config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    processor: ImageProcessor,
    settings: GenerationConfig,
    start: int,
    end: int,
    **config: Any,
) -> Network:
    """Our network from transformers' parts, which it shares.

    Args:
        decoder: None for one of ours, with random weights, of the sizes in text_config.
        settings: of `generate`.
        start, end: ids of the tokens that begin and end a caption.
        config: further settings of `CaptionerConfig`.
    """
    size = squash_to_own_size(processor, folder)
    image_encoder = convert_encoder(encoder, size)
    positions = decoder.max_length if decoder else text_config.max_position_embeddings
    words = create_tokenizer(tokenizer, start, [end], text_config.vocab_size, folder)
    network = Network(
        CaptionerConfig(
            encoder=encoder.config.to_diff_dict(),
            image_size=size,
            vocab_size=text_config.vocab_size,
            max_length=positions,
            width=text_config.hidden_size,
            num_layers=text_config.num_hidden_layers,
            num_heads=text_config.num_attention_heads,
            decoding=convert_generation_config(settings, positions, folder),
            **config,
        ),
        words,
        processor,
        image_encoder,
        decoder,
    )
    return network.eval()


def create_tokenizer(
    tokenizer: PreTrainedTokenizerFast,
    start: int,
    ends: Sequence[int],
    vocab_size: int,
    folder: Path,
) -> CaptionTokenizer:
    """Our tokenizer of transformers', which is not to be called any more: a call would let what a
    user types become special tokens.

    Raises CheckpointError for one of more tokens than the decoder has.
    """
    words = CaptionTokenizer(tokenizer.backend_tokenizer, start, ends)
    if words.vocab_size > vocab_size:
        raise CheckpointError(
            f"{folder}: its tokenizer has {words.vocab_size} tokens, its decoder {vocab_size}"
        )
    words.equal_tokens = {}  # transformers' rule against repeats tells capitals apart
    return words


def find_token_id(name: str, configs: list[Any], vocab_size: int, folder: Path) -> int:
    """The id of a special token, such as "eos_token_id", by the first configuration that has one.

    Raises CheckpointError where there is none, more than one, or one outside the vocabulary.
    """
    ids = find_token_ids(name, configs, vocab_size, folder)
    if len(ids) == 1:
        return ids[0]
    raise CheckpointError(f"{folder}: its files name no single {name} (found: {list(ids)!r})")


def find_token_ids(name: str, configs: list[Any], vocab_size: int, folder: Path) -> tuple[int, ...]:
    """As `find_token_id`, where there may be several, as of tokens that end a text."""
    values = (getattr(config, name, None) for config in configs)
    value = next((value for value in values if value is not None), None)
    ids = value if isinstance(value, list) else [value]
    if ids and all(isinstance(token, int) and 0 <= token < vocab_size for token in ids):
        return tuple(dict.fromkeys(ids))
    raise CheckpointError(f"{folder}: its files name no {name} (found: {value!r})")


def squash_to_own_size(processor: ImageProcessor, folder: Path) -> tuple[int, int]:
    """Make the processor squash whole photos to the encoder's (height, width), which is returned.

    As everywhere, nothing is cropped: a map must cover the whole photo.
    """
    is_cropping = getattr(processor, "do_center_crop", None)
    shape = processor.crop_size if is_cropping else processor.size
    height, width = shape.get("height"), shape.get("width")
    if not height or not width:
        height = width = shape.get("shortest_edge")
    if not height or not width:
        raise CheckpointError(
            f"{folder / 'preprocessor_config.json'}: {'crop_size' if is_cropping else 'size'} "
            f"must have height and width, not {shape!r}"
        )
    processor.size = {"height": height, "width": width}
    processor.do_resize, processor.do_center_crop = True, False
    return height, width


def convert_generation_config(
    settings: GenerationConfig,
    positions: int,
    folder: Path,
    prompt_length: int = 1,
    num_forced: int = 0,
    unset_length: int = 20,
    known: Collection[str] = (),
) -> dict[str, Any]:
    """Our decoding options from transformers', whose lengths count the prompt: the start token,
    where there is no other.

    num_forced: tokens of an answer that are not searched for, at its beginning and end.
    unset_length: where the files name none; 20 is transformers' own.
    known: settings that the family deals with itself.
    """
    values = {k: v for k, v in settings.to_diff_dict().items() if v is not None and k not in known}
    # old files write every default; what is off chooses no words
    others = {k: v for k, v in values.items() if k not in FOLLOWED | HARMLESS}
    if unknown := sorted(k for k, v in others.items() if v and (k not in OFF_AT_ONE or v != 1)):
        raise CheckpointError(
            f"{folder}: its settings for generate have {', '.join(unknown)}, "
            "which is not known here"
        )
    for name in ("max_new_tokens", "max_length", "min_length", "num_beams"):
        if not isinstance(values.get(name, 1), int):
            raise CheckpointError(f"{folder}: {name} must be a whole number, not {values[name]!r}")
    # a max_length counts the prompt too
    longest = values.get("max_new_tokens") or (
        values.get("max_length", unset_length + prompt_length) - prompt_length
    )
    longest = min(longest - num_forced, positions - 1)
    options = {
        "num_beams": values.get("num_beams", 1),
        "max_length": longest,
        "min_length": min(max(0, values.get("min_length", 0) - prompt_length), longest),
        "length_penalty": values.get("length_penalty", 1.0),
        "early_stopping": values.get("early_stopping", False),
        "no_repeat_ngram": values.get("no_repeat_ngram_size", 0),
    }
    if values.get("do_sample"):
        if options["num_beams"] > 1:
            raise CheckpointError(
                f"{folder}: asks for sampling with beams, which is not known here"
            )
        options |= {"sample": True, "top_k": values.get("top_k", 50)}  # transformers' default
        options |= {k: values[k] for k in ("temperature", "top_p") if k in values}
    try:
        DecodingOptions(**options)
    except OptionError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    return options
