"""Tiny random captioners that hold the photo in their prompt, in the hub's layout, by transformers'
own classes."""

from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from tests.support.hub import train_byte_level

START, END, PAD = 0, 1, 2
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.05,
    "bos_token_id": START,
    "eos_token_id": END,
    "pad_token_id": PAD,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def make_tokenizer(*special: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=train_byte_level("<s>", "</s>", "<pad>", "<unk>", *special),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def make_llava() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer("<image>")
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, image_size=32, patch_size=8, projection_dim=32),
        text_config=LlamaConfig(vocab_size=len(tokenizer), **TEXT),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
    )
    return LlavaForConditionalGeneration(config), tokenizer


def make_idefics3() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    return _make_idefics3(Idefics3Config, Idefics3ForConditionalGeneration)


def make_smolvlm() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    return _make_idefics3(SmolVLMConfig, SmolVLMForConditionalGeneration)


def _make_idefics3(config_class: type, kind: type) -> tuple:
    special = ("<fake_token_around_image>", "<image>", "<global-img>")
    tokenizer = make_tokenizer("<|im_start|>", "<end_of_utterance>", *special)
    config = config_class(
        vision_config=VISION | {"image_size": 64, "patch_size": 8},
        text_config=LlamaConfig(vocab_size=len(tokenizer), **TEXT).to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=PAD,
    )
    return kind(config), tokenizer


FAMILIES = {"llava": make_llava, "idefics3": make_idefics3, "smolvlm": make_smolvlm}


def save_prompted(family: str, folder: Path, seed: int = 1) -> PreTrainedModel:
    """Save one whose words differ from photo to photo; returns transformers' model."""
    torch.manual_seed(seed)
    model, tokenizer = FAMILIES[family]()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2 and ("embed_tokens" in name or "lm_head" in name):
                p.mul_(8)
            elif p.dim() == 2 and "embed" not in name:
                p.mul_(5)
            elif p.dim() == 1 and "norm" not in name.lower():
                p.add_(0.1 * torch.randn_like(p))
        model.lm_head.weight[model.config.image_token_id] = 0  # as trained ones: never written
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = END, PAD
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if family == "llava":  # which cuts photos to a square itself; here they are squashed
        processor = CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    else:
        processor = SiglipImageProcessor(size={"height": 64, "width": 64})
    processor.save_pretrained(folder)
    model.set_attn_implementation("eager")
    return model.eval()
