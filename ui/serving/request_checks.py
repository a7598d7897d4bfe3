"""What a request may hold, whoever sends it: the page, gradio's clients, or a program of its own.

gradio answers values of a wrong kind, or too few, with {"error": null} and a trace in the log. Here
each is one line for whoever asked, and no word of theirs is in the log (gradio 6).
"""

import logging
import math
import secrets
import sys
import traceback
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import queueing, routes, utils
from gradio.block_function import BlockFunction
from gradio.blocks import Block
from gradio.exceptions import AppError, InvalidPathError
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from ui.errors import complaint

log = logging.getLogger("captionlens")
FILE = '{"path": its address, "meta": {"_type": "gradio.FileData"}}'
# What each component takes, in Python and in words.
KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    gr.Image: ((dict,), 'a photo as a file, such as {"url": its address}'),
    gr.File: ((list,), f"a list of files, each as {FILE}"),
    gr.Number: ((int, float), "a number"),
    gr.Slider: ((int, float), "a number"),
    gr.Textbox: ((str,), "a text"),
    gr.Dropdown: ((str, int, float), "a name"),
    gr.Radio: ((str, int, float), "one of the choices"),
}
JSON_NAMES = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
}
explain_gradio_error = utils.error_payload


class Page(gr.Blocks):
    """A page whose events say what is wrong with the values that they are given."""

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **named: Any
    ) -> list[Any]:
        """What the handler gets. Raises gr.Error, in one line, for what it cannot get."""
        if not block_fn.cancels:  # those get a visitor's session from gradio itself
            inputs = check_values(block_fn.inputs, inputs)
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **named)
        except (ValidationError, InvalidPathError):
            raise complaint(f"A file in this request cannot be read; give it as {FILE}") from None


def check_values(blocks: Sequence[Block], values: Sequence[Any]) -> list[Any]:
    """The values for these components. Null stands for what a component begins with.

    Raises gr.Error, in one line, for too few, too many, and each of a wrong kind.
    """
    if len(values) != len(blocks):
        names = ", ".join(_label(block) for block in blocks)
        raise complaint(f"{len(values)} values came; give {len(blocks)}: {names or 'none'}.")
    return [_check_value(block, value) for block, value in zip(blocks, values, strict=True)]


def _check_value(block: Block, value: Any) -> Any:
    if block.stateful or type(block) not in KINDS:
        return value
    if value is None:
        return block.value
    kinds, words = KINDS[type(block)]
    if type(value) not in kinds:
        raise complaint(f"{_label(block)}: give {words}, not {JSON_NAMES[type(value)]}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise complaint(f"{_label(block)}: give {words} that is finite, not {value}.")
    if isinstance(value, str):
        check_text(_label(block), value)
    if isinstance(value, dict | list):
        try:
            block.data_model.model_validate(value)
        except ValidationError:
            raise complaint(f"{_label(block)}: give {words}.") from None
    return value


def _label(block: Block) -> str:
    return block.label or block.get_block_name()


def check_text(name: str, text: str) -> None:
    """Raises gr.Error for half a character, which JSON can hold and nothing else can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise complaint(f"{name}: a character in it is cut in half; send it anew.") from None


def install() -> None:
    """Have gradio answer what goes wrong outside of our handlers in one line, and write where it
    did, but not the trace: a visitor's words would stand in it."""
    for module in (queueing, routes):
        module.traceback = SimpleNamespace(print_exc=_log_place)
    for module in (queueing, utils):
        module.error_payload = explain_error


def explain_error(error: BaseException | None, show_error: bool) -> dict[str, Any]:
    """What the caller is told of an error: its line, or a number that stands in the log."""
    if not isinstance(error, AppError):
        number = secrets.token_hex(4)
        log.error("%s: %s", number, type(error).__name__)
        error = went_wrong(number)
    return explain_gradio_error(error, show_error)


def went_wrong(number: str) -> gr.Error:
    """For a fault of ours, by the number that stands beside it in the log."""
    return complaint(f"Something went wrong here, not with you ({number}). Try again.")


def _log_place() -> None:
    kind, error, trace = sys.exc_info()
    if error is None:
        return
    last = traceback.extract_tb(trace)[-1]
    log.error("%s at %s:%s", kind.__name__, last.filename, last.lineno)


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """For an endpoint that the page does not have, or names of values that it does not take."""
    problem = "no such endpoint" if isinstance(error, KeyError) else str(error)
    line = " ".join(problem.split())
    status = 422 if isinstance(error, TypeError) else 404
    return JSONResponse({"detail": f"{line}; see /gradio_api/info for what there is"}, status)
