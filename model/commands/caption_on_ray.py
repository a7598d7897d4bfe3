"""`python -m model caption --engine ray`: captions on all cores or on a cluster."""

import argparse
import time
from pathlib import Path
from typing import Any

from model.checkpoint.hub import SHIPPED
from model.error_reporting import print_error
from model.errors import OptionError
from model.scale.part_files import ERRORS_FILE, FORMATS


def run_on_ray(settings: argparse.Namespace, options: dict[str, Any]) -> int:
    """Caption the photos that the output folder does not hold yet.

    options: of `DecodingOptions`.
    """
    from model.scale.ray_engine import caption_on_ray

    output_format = settings.format or "jsonl"
    if output_format not in FORMATS:
        raise OptionError(f"--engine ray writes {' or '.join(FORMATS)}, not {output_format}")
    if settings.allow_pickle:
        raise OptionError("--allow-pickle does nothing with --engine ray")
    if settings.resume:
        raise OptionError("--engine ray always resumes: leave --resume out")
    if settings.output == "-":
        raise OptionError("--engine ray needs --output FOLDER, which gets the captions in parts")
    start = time.monotonic()
    counts = caption_on_ray(
        settings.paths,
        settings.output,
        checkpoint=settings.checkpoint or SHIPPED,
        memory=settings.memory,
        prompt=settings.prompt,
        language=settings.language,
        translator=settings.translator,
        options=options,
        format=output_format,
        num_workers=settings.workers,
        batch_size=settings.batch_size,
    )
    print(
        f"{counts.captioned} photos captioned in {time.monotonic() - start:.0f} seconds, "
        f"{counts.done_before} were there already: {settings.output}"
    )
    if counts.failed:
        errors_file = Path(settings.output, ERRORS_FILE)
        print_error(f"{counts.failed} could not be captioned: {errors_file}")
    return int(counts.failed > 0)
