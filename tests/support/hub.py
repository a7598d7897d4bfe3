"""Tiny random captioners in the hub's layout, of every family, made by its own classes."""

import json
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    BeitConfig,
    BertConfig,
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    CLIPImageProcessor,
    DeiTConfig,
    Dinov2Config,
    GitConfig,
    GitForCausalLM,
    GPT2Config,
    GPT2TokenizerFast,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizerFast,
    SiglipVisionConfig,
    SwinConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
)

from model.network.decoder import TokenTree
from model.network.network import Network
from tests.support.tiny import SENTENCES, draw_photo

PHOTOS = [draw_photo(60, 40, (i * 60, 255 - i * 60, 90)) for i in range(4)]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64}
IMAGE = {"image_size": 32, "patch_size": 8}
ENCODERS = {
    "vit": lambda: ViTConfig(**SIZES, **IMAGE),
    "deit": lambda: DeiTConfig(**SIZES, **IMAGE),
    "dinov2": lambda: Dinov2Config(**SIZES, **IMAGE),
    "siglip_vision_model": lambda: SiglipVisionConfig(**SIZES, **IMAGE),
    "beit": lambda: BeitConfig(**SIZES, **IMAGE, use_relative_position_bias=True),
    "swin": lambda: SwinConfig(  # 4 × 4 patches at the end, 32 wide
        image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
    ),
}
POSITIONS = 40


def train_byte_level(*special: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(special),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    return GPT2TokenizerFast(tokenizer_object=train_byte_level("<|endoftext|>"))


def roberta_tokenizer() -> PreTrainedTokenizerFast:
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    return RobertaTokenizerFast(tokenizer_object=train_byte_level(*special))


def bert_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return BertTokenizerFast(tokenizer_object=tokenizer)


# decoder -> its tokenizer, its configuration, and the tokens that begin and end a caption
DECODERS = {
    "gpt2": (
        gpt2_tokenizer,
        lambda vocab, width, **changes: GPT2Config(
            vocab_size=vocab,
            n_positions=POSITIONS,
            n_embd=width,
            n_layer=2,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
            add_cross_attention=True,
            **changes,
        ),
        (0, 0),
    ),
    "bert": (
        bert_tokenizer,
        lambda vocab, width, **changes: BertConfig(
            **SIZES | {"hidden_size": width},
            vocab_size=vocab,
            max_position_embeddings=POSITIONS,
            **changes,
        ),
        (2, 3),
    ),
    "roberta": (
        roberta_tokenizer,
        lambda vocab, width, **changes: RobertaConfig(
            **SIZES | {"hidden_size": width},
            vocab_size=vocab,
            max_position_embeddings=POSITIONS + 2,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            type_vocab_size=1,
            **changes,
        ),
        (0, 2),
    ),
}


def encoder_decoder(
    encoder: str = "vit", decoder: str = "gpt2", width: int = 48, seed: int = 0, **changes
) -> tuple[VisionEncoderDecoderModel, PreTrainedTokenizerFast]:
    """A random captioner whose words differ from photo to photo, and its tokenizer."""
    torch.manual_seed(seed)
    make_tokenizer, make_config, (start, end) = DECODERS[decoder]
    tokenizer = make_tokenizer()
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        ENCODERS[encoder](), make_config(len(tokenizer), width, **changes)
    )
    model = VisionEncoderDecoderModel(config=config)
    model.set_attn_implementation("eager")
    for part in (model.config, model.generation_config):
        part.decoder_start_token_id, part.eos_token_id, part.pad_token_id = start, end, end
    model = enlarge_weights(model, "decoder")
    if decoder == "bert":
        suppress_special_tokens(model.decoder.cls.predictions.bias, end, tokenizer)
    return model, tokenizer


def blip(seed: int = 0) -> tuple[BlipForConditionalGeneration, PreTrainedTokenizerFast]:
    """As `encoder_decoder`; as in the published ones, the start token is not in the tokenizer."""
    torch.manual_seed(seed)
    tokenizer = bert_tokenizer()
    config = BlipConfig(
        text_config=SIZES
        | {
            "hidden_size": 48,
            "encoder_hidden_size": 32,
            "vocab_size": len(tokenizer) + 2,
            "max_position_embeddings": POSITIONS,
            "bos_token_id": len(tokenizer),
            "eos_token_id": 2,
            "sep_token_id": 3,
            "pad_token_id": 0,
        },
        vision_config=SIZES | IMAGE | {"initializer_range": 0.02},
    )
    model = enlarge_weights(BlipForConditionalGeneration(config), "text_decoder")
    bias = model.text_decoder.cls.predictions.bias
    suppress_special_tokens(bias, config.text_config.sep_token_id, tokenizer)
    return model, tokenizer


def git(seed: int = 0, **changes: object) -> tuple[GitForCausalLM, PreTrainedTokenizerFast]:
    """As `encoder_decoder`."""
    torch.manual_seed(seed)
    tokenizer = bert_tokenizer()
    config = GitConfig(
        **SIZES | {"hidden_size": 48},
        vocab_size=len(tokenizer),
        max_position_embeddings=POSITIONS,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        vision_config=SIZES | IMAGE,
        **changes,
    )
    model = enlarge_weights(GitForCausalLM(config), "git")
    suppress_special_tokens(model.output.bias, config.eos_token_id, tokenizer)
    return model, tokenizer


def suppress_special_tokens(bias: Tensor, end: int, tokenizer: PreTrainedTokenizerFast) -> None:
    """As in a trained one: of the special tokens only the end is ever written.

    bias: (vocab_size,) of the logits.
    """
    with torch.no_grad():
        for token in [*tokenizer.all_special_ids, *range(len(tokenizer), len(bias))]:
            if token != end:
                bias[token] = -100


def enlarge_weights(model: PreTrainedModel, decoder: str) -> PreTrainedModel:
    """Weights so large that photos and words matter; biases and norms too, or they go untested."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if decoder in name and p.dim() == 2:
                p.mul_(6)
            elif p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    return model.eval()


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = {"height": 32, "width": 32}
    if model.config.model_type == "git":  # which crops photos; here they are squashed
        processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)
    else:
        kind = BlipImageProcessor if model.config.model_type == "blip" else ViTImageProcessor
        processor = kind(size=side)
    processor.save_pretrained(folder)
    return folder


def change_settings(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@torch.inference_mode()
def check_token_tree(network: Network, photos: list[Image.Image], vocab_size: int) -> None:
    """A sentence read as branches of a tree is rated, and looks, as when it is read in a row.

    photos: as many as share four rows of tokens, drawn from 10 up to `vocab_size`.
    """
    decoder, features = network.decoder, network.encode(photos)
    tokens = torch.randint(10, vocab_size, (4, 5))
    first = decoder(tokens, decoder.look_at(features), need_weights=True)
    tree = TokenTree.branches(torch.arange(5), cached=5)
    again = decoder(tokens, first.cache, need_weights=True, tree=tree)
    torch.testing.assert_close(again.logits, first.logits, atol=1e-4, rtol=1e-4)
    for layer, expected in zip(again.cross_attn_weights, first.cross_attn_weights, strict=True):
        torch.testing.assert_close(layer, expected, atol=1e-5, rtol=0)
