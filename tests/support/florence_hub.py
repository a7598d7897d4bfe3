"""Tiny random Florence-2s in the hub's layout, by transformers' own classes."""

from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
)

from tests.support.prompted_hub import END, PAD, START, make_tokenizer

SIZE = (128, 96)  # pixels: a grid of 4 × 3


def save_florence2(folder: Path, seed: int = 1) -> Florence2ForConditionalGeneration:
    """Save one whose words differ from photo to photo; returns transformers' model."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer("<image>", "<loc_0>", image_token="<image>")
    config = Florence2Config(
        vision_config={
            "embed_dim": (8, 16, 16, 32),
            "num_heads": (2, 2, 2, 4),
            "num_groups": (2, 2, 2, 4),
            "depths": (1, 1, 1, 1),
            "window_size": 4,
            "projection_dim": 32,
            "drop_path_rate": 0.0,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(tokenizer),
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 3,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": 128,
            "bos_token_id": START,
            "eos_token_id": END,
            "pad_token_id": PAD,
            "decoder_start_token_id": END,
            "init_std": 0.05,
            "tie_word_embeddings": False,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    model = Florence2ForConditionalGeneration(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 2 and "embed_positions" in name and "decoder" in name:
                p.mul_(25)  # or one word is said for ever
            elif p.dim() == 2 and ("shared" in name or "embed_tokens" in name or "lm_head" in name):
                p.mul_(8)
            elif p.dim() == 2 and "embed" not in name:
                p.mul_(3)
    settings = model.generation_config
    settings.decoder_start_token_id, settings.bos_token_id = END, START
    settings.eos_token_id, settings.pad_token_id = END, PAD
    settings.forced_bos_token_id, settings.forced_eos_token_id = START, END
    settings.num_beams, settings.no_repeat_ngram_size, settings.early_stopping = 3, 3, True
    model.save_pretrained(folder)
    height, width = SIZE
    photos = CLIPImageProcessor(size={"height": height, "width": width}, do_center_crop=False)
    photos.image_seq_length = 13  # their mean, and 4 · 3
    Florence2Processor(photos, tokenizer).save_pretrained(folder)
    model.set_attn_implementation("eager")
    return model.eval()
