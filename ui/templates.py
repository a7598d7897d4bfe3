"""HTML from Jinja templates, which escape every value that is not HTML already."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> Markup:
    """Fill in a template, a path in this folder."""
    return Markup(_ENVIRONMENT.get_template(template).render(values))


def get_macros(template: str) -> Any:
    """The macros of a template as functions that return HTML."""
    return _ENVIRONMENT.get_template(template).module
