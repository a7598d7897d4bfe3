"""The translator's network against transformers' blocks, and what padding must not change."""

import pytest
import torch
from transformers import MBartConfig
from transformers.models.mbart.modeling_mbart import MBartEncoder

from model.translation.network import TextEncoder
from tests.support.translators import SENTENCES, tiny_translator

WIDTH, HEADS, LAYERS, VOCABULARY = 24, 3, 2, 50
# of a layer: ours -> theirs
NAMES = {
    "self_attn_norm": "self_attn_layer_norm",
    "self_attn.query": "self_attn.q_proj",
    "self_attn.key": "self_attn.k_proj",
    "self_attn.value": "self_attn.v_proj",
    "self_attn.output": "self_attn.out_proj",
    "mlp_norm": "final_layer_norm",
    "mlp.up": "fc1",
    "mlp.down": "fc2",
}


@pytest.fixture
def reference():
    """MBart's encoder, pre-norm as ours is, with random weights everywhere."""
    torch.manual_seed(0)
    config = MBartConfig(
        vocab_size=VOCABULARY,
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        max_position_embeddings=16,
        activation_function="gelu_new",
        attn_implementation="eager",
    )
    encoder = MBartEncoder(config).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    # MBart has a norm after the embeddings, which ours has not
    encoder.layernorm_embedding = torch.nn.Identity()
    return encoder


def copy_encoder(reference):
    encoder = TextEncoder(max_length=16, width=WIDTH, num_layers=LAYERS, num_heads=HEADS).eval()
    theirs, state = reference.state_dict(), {}
    offset = reference.embed_positions.offset
    state["position_embedding.weight"] = theirs["embed_positions.weight"][offset:]
    for kind in ("weight", "bias"):
        state[f"final_norm.{kind}"] = theirs[f"layer_norm.{kind}"]
        for layer in range(LAYERS):
            for own, other in NAMES.items():
                state[f"blocks.{layer}.{own}.{kind}"] = theirs[f"layers.{layer}.{other}.{kind}"]
    encoder.load_state_dict(state)
    return encoder


@torch.no_grad()
def test_the_encoder_is_that_of_mbart(reference):
    encoder = copy_encoder(reference)
    embedded = torch.randn(2, 7, WIDTH)
    visible = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
    expected = reference(inputs_embeds=embedded, attention_mask=visible.long()).last_hidden_state
    torch.testing.assert_close(
        encoder(embedded, visible)[visible], expected[visible], atol=1e-5, rtol=1e-5
    )
    assert not torch.allclose(encoder(embedded)[1, :4], expected[1, :4], atol=1e-2)


@torch.no_grad()
def test_padding_never_changes_a_result():
    network = tiny_translator().network
    sources = [network.tokenizer.encode(sentence)[0] for sentence in (*SENTENCES, "A dog.")]
    targets = torch.tensor([[network.tokenizer.starts["xx"], 270, 271, 272]])
    together = network.decoder(
        targets.expand(len(sources), -1), network.read_sentences(sources), need_weights=True
    )
    for i, source in enumerate(sources):
        alone = network.decoder(targets, network.read_sentences([source]), need_weights=True)
        torch.testing.assert_close(together.logits[i], alone.logits[0], atol=1e-5, rtol=1e-5)
        for padded, plain in zip(
            together.cross_attn_weights, alone.cross_attn_weights, strict=True
        ):
            length = len(source) + 1
            torch.testing.assert_close(padded[i, ..., :length], plain[0])
            assert not padded[i, ..., length:].any()


@torch.no_grad()
def test_what_stands_at_the_padding_does_not_matter():
    network = tiny_translator().network
    sources = torch.tensor([[270, 271, 272, 273], [274, 275, 0, 0]])
    visible = torch.tensor([[True] * 4, [True, True, False, False]])
    targets = torch.tensor([[network.tokenizer.starts["xx"], 270]] * 2)
    first = network(sources, targets, visible)
    sources[1, 2:] = 280
    torch.testing.assert_close(network(sources, targets, visible), first)


def test_more_tokens_than_positions_are_an_error():
    encoder = TextEncoder(max_length=4, width=WIDTH, num_layers=1, num_heads=HEADS)
    with pytest.raises(ValueError, match="5 tokens, but the encoder has 4 positions"):
        encoder(torch.zeros(1, 5, WIDTH))
