"""Tiny random captioners that hold the photo in their prompt, in the hub's layout, by transformers'
own classes."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    BaseImageProcessor,
    CLIPImageProcessor,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3TextConfig,
    GemmaConfig,
    GotOcr2ImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
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


def make_tokenizer(*special: str, bos: str = "<s>", **named: str) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=train_byte_level("<s>", "</s>", "<pad>", "<unk>", *special),
        bos_token=bos,
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        **named,
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


def make_internvl() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer("<img>", "</img>", "<IMG_CONTEXT>", "<|im_start|>", "<|im_end|>")
    config = InternVLConfig(
        vision_config=VISION | {"image_size": [64, 64], "patch_size": [8, 8]},
        text_config=Qwen2Config(vocab_size=len(tokenizer), **TEXT).to_dict(),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=16,
        downsample_ratio=0.5,
    )
    return InternVLForConditionalGeneration(config), tokenizer


def make_paligemma() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer("<image>", "<bos>", bos="<bos>")
    text = TEXT | {"bos_token_id": tokenizer.bos_token_id}
    config = PaliGemmaConfig(
        vision_config=SiglipVisionConfig(
            **VISION, image_size=32, patch_size=8, vision_use_head=False, projection_dim=32
        ),
        text_config=GemmaConfig(vocab_size=len(tokenizer), head_dim=8, **text),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=32,
        hidden_size=32,
        tie_word_embeddings=False,
    )
    return PaliGemmaForConditionalGeneration(config), tokenizer


def make_gemma3() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    special = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")
    tokenizer = make_tokenizer(*special)
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(list(special)), strict=True))
    text = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        head_dim=8,
        sliding_window=256,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        **TEXT,
    )
    config = Gemma3Config(
        text_config=text.to_dict(),
        vision_config=SiglipVisionConfig(
            **VISION, image_size=64, patch_size=8, vision_use_head=False
        ).to_dict(),
        mm_tokens_per_image=16,
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
        image_token_index=ids["<image_soft_token>"],
        image_token_id=ids["<image_soft_token>"],
        tie_word_embeddings=False,
    )
    model = Gemma3ForConditionalGeneration(config)
    # zeros at first: the photo would not count
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.2)
    return model, tokenizer


def make_onevision() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    tokenizer = make_tokenizer("<image>", "<video>", "<|im_start|>", "<|im_end|>")
    placeholder = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaOnevisionConfig(
        # 34 pixels: the last two are in no patch
        vision_config=SiglipVisionConfig(
            **VISION, image_size=34, patch_size=8, vision_use_head=False
        ),
        text_config=Qwen2Config(vocab_size=len(tokenizer), **TEXT),
        image_token_id=placeholder,
        video_token_id=placeholder + 1,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=[[32, 32], [32, 64]],
    )
    return LlavaOnevisionForConditionalGeneration(config), tokenizer


def make_qwen2() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    return _make_qwen(
        Qwen2VLConfig, Qwen2VLForConditionalGeneration, embed_dim=32, hidden_size=32, mlp_ratio=2
    )


def make_qwen2_5(patch_size: int = 2) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    return _make_qwen(
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        hidden_size=32,
        intermediate_size=48,
        out_hidden_size=32,
        window_size=32,
        fullatt_block_indexes=[1],
        patch_size=patch_size,
    )


def make_qwen3() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    return _make_qwen(
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        hidden_size=32,
        intermediate_size=48,
        out_hidden_size=32,
        num_position_embeddings=64,
        deepstack_visual_indexes=[0, 1],
    )


def _make_qwen(config_class: type, kind: type, **vision: object) -> tuple:
    special = ("<|vision_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_end|>")
    tokenizer = make_tokenizer("<|im_start|>", "<|im_end|>", *special)
    start, image, video, end = tokenizer.convert_tokens_to_ids(list(special))
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    text = TEXT | {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    if config_class is Qwen3VLConfig:
        text["head_dim"] = 8
        rope["mrope_interleaved"] = True
    config = config_class(
        text_config=text | {"rope_parameters": rope},
        vision_config={"depth": 2, "num_heads": 2, "patch_size": 2, "spatial_merge_size": 2}
        | {"temporal_patch_size": 2}
        | vision,
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    return kind(config), tokenizer


QWENS = {"qwen2_vl": make_qwen2, "qwen2_5_vl": make_qwen2_5, "qwen3_vl": make_qwen3}
FAMILIES = {
    **QWENS,
    "gemma3": make_gemma3,
    "llava_onevision": make_onevision,
    "llava": make_llava,
    "idefics3": make_idefics3,
    "smolvlm": make_smolvlm,
    "internvl": make_internvl,
    "paligemma": make_paligemma,
}


def make_sides(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _make_tiles(kind: type[BaseImageProcessor]) -> BaseImageProcessor:
    return kind(size={"longest_edge": 128}, max_image_size={"longest_edge": 64})


def _make_qwen_processor() -> BaseImageProcessor:
    # of which a photo may have so many pixels
    return Qwen2VLImageProcessor(patch_size=2, size={"shortest_edge": 64, "longest_edge": 2**24})


# the families' own image processors: some crop photos, cut them into tiles or keep their shape
PROCESSORS: dict[str, Callable[[], BaseImageProcessor]] = {
    **dict.fromkeys(QWENS, _make_qwen_processor),
    "gemma3": lambda: Gemma3ImageProcessor(size=make_sides(64)),
    "llava_onevision": lambda: LlavaOnevisionImageProcessor(
        size=make_sides(34), image_grid_pinpoints=[[34, 34], [34, 68]]
    ),
    "llava": lambda: CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=make_sides(32)),
    "idefics3": lambda: _make_tiles(Idefics3ImageProcessor),
    "smolvlm": lambda: _make_tiles(SmolVLMImageProcessor),
    "internvl": lambda: GotOcr2ImageProcessor(size=make_sides(64), crop_to_patches=True),
    "paligemma": lambda: SiglipImageProcessor(size=make_sides(32)),
}


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
    PROCESSORS[family]().save_pretrained(folder)
    model.set_attn_implementation("eager")
    return model.eval()
