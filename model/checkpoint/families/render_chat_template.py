"""A program: reads a chat template and its variables as JSON, and prints what it gives as JSON.

A template is a stranger's program. Here it has no more than a moment and a little memory, and
nothing of the process that asks; jinja2's sandbox keeps it from everything else. See
`prompt_template.write_chat`.
"""

import json
import sys
from datetime import datetime
from typing import Any, NoReturn

MAX_CPU_SECONDS = 5
MAX_MEMORY = 256 * 2**20  # bytes
MAX_CHARACTERS = 20_000


def limit_resources() -> None:
    """Where the system knows of limits: Windows does not."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def render(template: str, variables: dict[str, Any]) -> str:
    """As transformers' `apply_chat_template` renders it."""
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> NoReturn:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    # jinja2's own would escape for HTML
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(
        value, ensure_ascii=False, indent=indent
    )
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template).render(**variables)


def main() -> None:
    limit_resources()
    given = json.load(sys.stdin)
    try:
        text = render(given["template"], given["variables"])
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"it gives more than {MAX_CHARACTERS:,} characters")
        result = {"text": text}
    except Exception as error:  # a template may raise anything
        result = {"error": " ".join(str(error).split())[:200] or type(error).__name__}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
