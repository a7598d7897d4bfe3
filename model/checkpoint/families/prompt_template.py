"""The prompt of a captioner that takes one: what stands around the question, and the tokens of it
all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from model.checkpoint.families import render_chat_template
from model.errors import CheckpointError, OptionError

QUESTION = "CAPTIONLENSQUESTION"  # stands for the question while a chat template is rendered
ANSWER_LENGTH = 128  # tokens, where a checkpoint names no length: transformers' 20 cut sentences
MAX_SECONDS = 20.0
MAX_CHARACTERS = 1_000  # of a question


class PromptTemplate:
    """What stands before and behind the question; special tokens in it are special tokens, those in
    a question are text.

    Args:
        tokenizer: is left to be used for text alone.
        before, behind: with the photo's placeholders, where it has any.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, before: str, behind: str):
        self.before, self.behind = before, behind
        self._text = tokenizer.backend_tokenizer
        self._special = Tokenizer.from_str(self._text.to_str())
        self._special.encode_special_tokens = False
        self._special.no_padding()
        self._special.no_truncation()
        self._text.encode_special_tokens = True
        added = self._text.get_added_tokens_decoder().values()
        self._names = [token.content for token in added if token.special]
        # what the tokenizer itself puts before a text, unless the template has
        self._adds_start = not (tokenizer.bos_token and tokenizer.bos_token in before)

    @property
    def begins_with_space(self) -> bool:
        """Whether a space comes before the answer: behind "Assistant:", not on a new line."""
        return not self.behind[-1:].isspace()

    def tokenize(self, question: str) -> list[int]:
        """The ids of the whole prompt. Raises OptionError for a question that is no such thing."""
        if len(question) > MAX_CHARACTERS:
            raise OptionError(f"the prompt has more than {MAX_CHARACTERS:,} characters")
        try:
            question.encode()
        except UnicodeEncodeError as error:
            raise OptionError("the prompt has characters that are not UTF-8") from error
        if not any(name in question for name in self._names):
            return self._read(self.before + question + self.behind, self._adds_start)
        text = self._text.encode(question, add_special_tokens=False).ids
        return self._read(self.before, self._adds_start) + text + self._read(self.behind, False)

    def _read(self, text: str, adds_start: bool) -> list[int]:
        return self._special.encode(text, add_special_tokens=adds_start).ids


def write_chat(tokenizer: PreTrainedTokenizerFast, folder: Path) -> tuple[str, str] | None:
    """What the checkpoint's chat template puts before and behind a question about a photo; None
    where there is no template.

    It is rendered in a process of its own, with limits.
    """
    template = _find_chat_template(tokenizer, folder)
    if template is None:
        return None
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    variables = {
        **tokenizer.special_tokens_map,
        "messages": [{"role": "user", "content": content}],
        "add_generation_prompt": True,
        "tools": None,
        "documents": None,
    }
    result = _render(template, variables)
    pieces = result.get("text", "").split(QUESTION)
    if len(pieces) != 2:
        reason = result.get("error", "it does not give the question back")
        raise CheckpointError(f"{folder}: its chat template cannot be used ({reason})")
    return pieces[0], pieces[1]


def _find_chat_template(tokenizer: PreTrainedTokenizerFast, folder: Path) -> str | None:
    """The tokenizer's own, or the processor's, which older checkpoints keep in a file beside it."""
    template: Any = tokenizer.chat_template
    path = folder / "chat_template.json"
    if template is None and path.is_file():
        try:
            template = json.loads(path.read_text(encoding="utf-8"))["chat_template"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: holds no chat_template") from error
    if isinstance(template, dict):  # several, by name
        template = template.get("default")
    if template is not None and not isinstance(template, str):
        raise CheckpointError(f"{folder}: its chat template is no text")
    return template


def _render(template: str, variables: dict[str, Any]) -> dict[str, str]:
    """{"text": ...} or {"error": ...}"""
    program = render_chat_template.__file__
    try:
        run = subprocess.run(
            [sys.executable, "-I", program],
            input=json.dumps({"template": template, "variables": variables}),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=MAX_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"error": "it takes too long"}
    if run.returncode or not run.stdout:
        return {"error": "it takes too much time or memory"}
    return json.loads(run.stdout)
