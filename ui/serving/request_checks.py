"""What a request may hold, whoever sends it: the page, gradio's clients, or a program of its own.

gradio answers values of a wrong kind, or too few, with {"error": null} and a trace in the log. Here
each is one line for whoever asked, and no word of theirs is in the log.
"""

import math
from collections.abc import Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from pydantic import ValidationError

from ui.errors import user_error
from ui.gradio_internals import FILE_FORMAT, CheckedBlocks, read_event_data

# What each component takes, in Python and in words.
ACCEPTED_VALUES: dict[type, tuple[tuple[type, ...], str]] = {
    gr.Image: ((dict,), 'a photo as a file, such as {"url": its address}'),
    gr.File: ((list,), f"a list of files, each as {FILE_FORMAT}"),
    gr.Number: ((int, float), "a number"),
    gr.Slider: ((int, float), "a number"),
    gr.Textbox: ((str,), "a text"),
    gr.Dropdown: ((str, int, float), "a name"),
    gr.Radio: ((str, int, float), "one of the choices"),
}
# Labels of inputs that an endpoint got later: programs that do not know them may leave them out.
LATER_INPUTS = {"language"}
JSON_NAMES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def check_values(blocks: Sequence[Block], values: Sequence[Any]) -> list[Any]:
    """The values for these components. Null stands for what a component begins with, and so does a
    last value that is left out, of `LATER_INPUTS`.

    Raises gr.Error, in one line, for too few, too many, and each of a wrong kind.
    """
    if all(getattr(block, "label", "") in LATER_INPUTS for block in blocks[len(values) :]):
        values = [*values, *[None] * (len(blocks) - len(values))]
    if len(values) != len(blocks):
        names = ", ".join(_get_label(block) for block in blocks)
        raise user_error(f"{len(values)} values came; give {len(blocks)}: {names or 'none'}.")
    return [_check_value(block, value) for block, value in zip(blocks, values, strict=True)]


class Page(CheckedBlocks):
    """A page whose requests are checked by `check_values`."""

    check_values = staticmethod(check_values)


def _check_value(block: Block, value: Any) -> Any:
    if block.stateful or type(block) not in ACCEPTED_VALUES:
        return value
    if value is None:  # of a photo: that it was taken away
        return None if isinstance(block, gr.Image) else block.value
    label = _get_label(block)
    types, expected = ACCEPTED_VALUES[type(block)]
    if type(value) not in types:
        raise user_error(f"{label}: give {expected}, not {JSON_NAMES[type(value)]}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise user_error(f"{label}: give {expected} that is finite, not {value}.")
    low, high = getattr(block, "minimum", None), getattr(block, "maximum", None)
    if isinstance(block, gr.Slider) and not low <= value <= high:
        raise user_error(f"{label}: give a number from {low} to {high}.")
    if isinstance(value, str):
        check_text(label, value)
    if isinstance(value, dict | list):
        _check_texts(label, value)
        try:
            block.data_model.model_validate(value)
        except ValidationError as error:
            raise user_error(f"{label}: give {expected}.") from error
    return value


def _get_label(block: Block) -> str:
    return block.label or block.get_block_name()


def read_event(event: gr.EventData) -> dict[str, Any]:
    """What a page sent with its event; nothing, if it sent no such values. Raises gr.Error."""
    data = read_event_data(event)
    values = data if isinstance(data, dict) else {}
    for name, value in values.items():
        check_text(name, str(value))
    return values


def _check_texts(name: str, value: Any) -> None:
    """As `check_text`, for each text inside of what JSON held."""
    if isinstance(value, str):
        check_text(name, value)
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_texts(name, inner)


def check_text(name: str, text: str) -> None:
    """Raise gr.Error for half a character, which JSON can hold and nothing else can, and for the
    character of no name (NUL), which no path can hold."""
    if "\0" in text:
        raise user_error(f"{name}: a NUL character is in it; leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{name}: a character in it is cut in half; send it anew."
        raise user_error(message) from error
