"""Chat templates are strangers' programs: they are rendered elsewhere, with limits."""

import pytest

from model import CheckpointError, OptionError, load
from model.checkpoint.families.prompt_template import write_chat
from tests.support.prompted_hub import make_tokenizer, save_prompted

QUESTION = "{{ messages[0]['content'][1]['text'] }}"


def write(template, tmp_path):
    tokenizer = make_tokenizer("<image>")
    tokenizer.chat_template = template
    return write_chat(tokenizer, tmp_path)


def test_a_template_gives_what_stands_around_the_question(tmp_path):
    template = (
        "{{ bos_token }}<image>\n" + QUESTION + "{% if add_generation_prompt %} A:{% endif %}"
    )
    assert write(template, tmp_path) == ("<s><image>\n", " A:")
    assert write(None, tmp_path) is None


def test_one_in_a_file_beside_the_tokenizer_is_read(tmp_path):
    (tmp_path / "chat_template.json").write_text('{"chat_template": "<image>' + QUESTION + '"}')
    assert write(None, tmp_path) == ("<image>", "")
    (tmp_path / "chat_template.json").write_text("[]")
    with pytest.raises(CheckpointError, match="holds no chat_template"):
        write(None, tmp_path)


@pytest.mark.parametrize(
    "template, reason",
    [
        ("{{ 'x' * 10000000000 }}", "memory|MemoryError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ raise_exception('only texts') }}", "only texts"),
        ("{% if %}", "Expected an expression"),
        ("no question", "does not give the question back"),
        (QUESTION * 2, "does not give the question back"),
        ("{{ 'x' * 30000 }}" + QUESTION, "more than 20,000 characters"),
    ],
)
def test_what_a_template_may_not_do(template, reason, tmp_path):
    with pytest.raises(CheckpointError, match=f"its chat template cannot be used .*({reason})"):
        write(template, tmp_path)


@pytest.mark.slow
def test_one_that_never_ends_is_ended(tmp_path):
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(CheckpointError, match="takes too"):
        write(loops, tmp_path)


def test_prompts_are_asked_and_their_special_tokens_are_text(tmp_path):
    model = save_prompted("llava", tmp_path)
    captioner = load(tmp_path)
    asked = captioner.with_prompt("Say </s> or <image>.")
    ids = asked.network.decoder.prompt.tolist()
    assert ids.count(model.config.image_token_id) == 16 and 1 not in ids
    text = asked.network.tokenizer.tokenizer.decode(ids, skip_special_tokens=False)
    assert text.endswith("\nSay </s> or <image>. ASSISTANT:")
    plain = captioner.with_prompt("Describe.").network.decoder.prompt.tolist()
    whole = captioner.network.decoder.prompt.tolist()
    assert plain[:19] == whole[:19] and plain != whole
    with pytest.raises(OptionError, match="must be a text"):
        captioner.with_prompt("")


def test_only_some_captioners_take_a_prompt():
    captioner = load()
    assert captioner.prompt is None
    with pytest.raises(OptionError, match="takes no prompt"):
        captioner.with_prompt("Why?")
