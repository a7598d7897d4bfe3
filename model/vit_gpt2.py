"""ViT + GPT-2 captioners of transformers (`VisionEncoderDecoderModel`), read into our own parts.

The image encoder stays transformers'. The decoder has GPT-2's architecture with cross-attention,
which is ours: its tensors are renamed, its Conv1D matrices (in, out) turned over.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.utils import logging

from model.captioner import Captioner
from model.config import CaptionerConfig, CheckpointError, check_fit
from model.encoder import ImageEncoder, check_encoder
from model.hub import PICKLED, WEIGHTS
from model.tokenizer import CaptionTokenizer

FAMILY = "vision-encoder-decoder"
PLAIN = {  # of GPT-2's settings, those that our decoder has
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
}
MASKS = ("bias", "masked_bias")
# of `generate`'s settings, those that become our decoding options
FOLLOWED = {"num_beams", "length_penalty", "early_stopping", "max_length", "min_length"}
FOLLOWED |= {"max_new_tokens", "no_repeat_ngram_size", "do_sample", "temperature", "top_k", "top_p"}
# and those that choose no words
HARMLESS = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "use_cache"}
HARMLESS |= {"output_attentions", "output_hidden_states", "return_dict_in_generate"}
HARMLESS |= {"transformers_version", "_from_model_config", "num_return_sequences", "output_scores"}


def read(folder: Path, allow_pickle: bool = False) -> Captioner:
    """The captioner in a folder with the hub's layout.

    allow_pickle: read pickled weights (of tensors alone, nothing in them runs) where there are no
        safetensors.

    Raises CheckpointError, in one line, for another decoder, weights that do not fit (they are
    listed) or that are pickled, and settings that cannot be followed.
    """
    try:
        for kinds in (("tokenizer.json", "vocab.json"), ("preprocessor_config.json",)):
            if not any((folder / name).is_file() for name in kinds):
                raise CheckpointError(f"{folder}: {' or '.join(kinds)} is missing")
        config = VisionEncoderDecoderConfig.from_pretrained(folder)
        check_encoder(config.encoder.model_type)
        if not isinstance(config.decoder, GPT2Config):
            raise CheckpointError(
                f"{folder}: its decoder is {config.decoder.model_type!r}; only GPT-2 can be read"
            )
        for name, value in PLAIN.items():
            if getattr(config.decoder, name) != value:
                raise CheckpointError(
                    f"{folder}: GPT-2 with {name} {getattr(config.decoder, name)!r} cannot be read"
                )
        model = _weights(folder, allow_pickle)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        return assemble(model, tokenizer, processor, folder)
    except CheckpointError:
        raise
    except Exception as error:  # whatever is wrong with a file, it is the folder
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{folder}: {reason[0]}") from error


def assemble(
    model: VisionEncoderDecoderModel, tokenizer: Any, processor: Any, folder: Path
) -> Captioner:
    """Our captioner from transformers' parts, which share the encoder with it."""
    gpt2, settings = model.config.decoder, model.generation_config
    if not torch.equal(model.decoder.lm_head.weight, model.decoder.transformer.wte.weight):
        raise CheckpointError(f"{folder}: its output head is not its token embedding")
    shape = processor.size
    if "shortest_edge" in shape:
        shape = processor.crop_size
    size = (shape["height"], shape["width"])
    # as everywhere: photos are squashed, never cropped, since a map must cover the whole photo
    processor.size, processor.do_center_crop = {"height": size[0], "width": size[1]}, False
    encoder = ImageEncoder(model.encoder.config, size, model.encoder)
    config = CaptionerConfig(
        encoder=model.encoder.config.to_diff_dict(),
        image_size=size,
        vocab_size=gpt2.vocab_size,
        max_length=gpt2.n_positions,
        width=gpt2.n_embd,
        num_layers=gpt2.n_layer,
        num_heads=gpt2.n_head,
        mlp_ratio=(gpt2.n_inner or 4 * gpt2.n_embd) / gpt2.n_embd,
        project_image=hasattr(model, "enc_to_dec_proj"),
        decoding=_decoding(settings, gpt2.n_positions, folder),
    )
    start, end = _special(model, "decoder_start_token_id"), _special(model, "eos_token_id")
    words = CaptionTokenizer(tokenizer.backend_tokenizer, start, end)
    words.alike = {}  # transformers' rule against repeats tells capitals apart
    captioner = Captioner(config, words, processor, encoder)
    projection = getattr(model, "enc_to_dec_proj", None)
    captioner.decoder.load_state_dict(decoder_state(model.decoder, projection))
    captioner.family = FAMILY
    captioner.options()  # complains of what makes no search
    return captioner.eval()


def decoder_state(gpt2: GPT2LMHeadModel, projection: nn.Linear | None = None) -> dict[str, Tensor]:
    """A GPT-2's tensors under our names, and those of the projection of the image before it."""
    theirs = gpt2.transformer.state_dict()
    state = {
        "token_embedding.weight": theirs["wte.weight"],
        "position_embedding.weight": theirs["wpe.weight"],
        "final_norm.weight": theirs["ln_f.weight"],
        "final_norm.bias": theirs["ln_f.bias"],
    }
    for kind, tensor in (projection.state_dict() if projection else {}).items():
        state[f"image_projection.{kind}"] = tensor
    names = {
        "attn.c_attn": ["self_attn.query", "self_attn.key", "self_attn.value"],
        "attn.c_proj": ["self_attn.output"],
        "crossattention.q_attn": ["cross_attn.query"],
        "crossattention.c_attn": ["cross_attn.key", "cross_attn.value"],
        "crossattention.c_proj": ["cross_attn.output"],
        "mlp.c_fc": ["mlp.up"],
        "mlp.c_proj": ["mlp.down"],
        "ln_1": ["self_attn_norm"],
        "ln_cross_attn": ["cross_attn_norm"],
        "ln_2": ["mlp_norm"],
    }
    for layer in range(gpt2.config.n_layer):
        for source, targets in names.items():
            for kind in ("weight", "bias"):
                tensor = theirs[f"h.{layer}.{source}.{kind}"]
                for target, part in zip(targets, tensor.chunk(len(targets), -1), strict=True):
                    state[f"blocks.{layer}.{target}.{kind}"] = part.T if part.dim() == 2 else part
    return state


def _weights(folder: Path, allow_pickle: bool) -> VisionEncoderDecoderModel:
    safe = (folder / WEIGHTS).is_file()
    if not safe and not (folder / PICKLED).is_file():
        raise CheckpointError(f"{folder / WEIGHTS}: missing")
    if not safe and not allow_pickle:
        raise CheckpointError(
            f"{folder}: its weights are pickled ({PICKLED}), a format that can hold programs; "
            "allow_pickle=True, or --allow-pickle, reads the tensors in it and nothing else"
        )
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what does not fit is said below, in one line
    try:
        model, found = VisionEncoderDecoderModel.from_pretrained(
            folder,
            use_safetensors=safe,
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed with the rest
        )
    finally:
        logging.set_verbosity(verbosity)
    # ViT's pooler is not used, and old files keep GPT-2's causal masks
    masks = tuple(f"{place}.{name}" for place in (".attn", ".crossattention") for name in MASKS)
    problems = {}
    for kind, name in (
        ("missing", "missing"),
        ("unexpected", "unexpected"),
        ("wrong shape", "mismatched"),
    ):
        keys = [key if isinstance(key, str) else key[0] for key in found[f"{name}_keys"]]
        problems[kind] = sorted(
            k for k in keys if not k.startswith("encoder.pooler.") and not k.endswith(masks)
        )
    check_fit(folder, problems)
    return model


def _special(model: VisionEncoderDecoderModel, name: str) -> int:
    parts: list[GenerationConfig | PreTrainedConfig] = [model.generation_config, model.config]
    for part in (*parts, model.config.decoder):
        found = getattr(part, name, None)
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        if isinstance(found, int) and 0 <= found < model.config.decoder.vocab_size:
            return found
        if found is not None:
            break
    raise CheckpointError(f"{model.name_or_path}: config.json has no single {name}")


def _decoding(settings: GenerationConfig, positions: int, folder: Path) -> dict[str, Any]:
    """Our decoding options from transformers', whose lengths count the start token."""
    given = {k: v for k, v in settings.to_diff_dict().items() if v is not None}
    if strange := sorted(set(given) - FOLLOWED - HARMLESS):
        raise CheckpointError(
            f"{folder}: generation_config.json sets {', '.join(strange)}, which is not known here"
        )
    # unset, transformers writes 20 new tokens; a max_length counts the start token too
    longest = given.get("max_new_tokens") or given.get("max_length", 21) - 1
    longest = min(longest, positions - 1)
    options = {
        "num_beams": given.get("num_beams", 1),
        "max_length": longest,
        "min_length": min(max(0, given.get("min_length", 0) - 1), longest),
        "length_penalty": float(given.get("length_penalty", 1.0)),
        "early_stopping": given.get("early_stopping", False),
        "no_repeat_ngram": given.get("no_repeat_ngram_size", 0),
    }
    if given.get("do_sample"):
        options["sample"] = True
        options |= {k: given[k] for k in ("temperature", "top_k", "top_p") if k in given}
    return options
