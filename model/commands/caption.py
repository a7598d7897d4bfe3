"""`python -m model caption`: a caption for each photo."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from model.batches import BATCH_SIZE, caption_all
from model.commands.caption_on_ray import run_on_ray
from model.commands.inputs import (
    add_checkpoint_option,
    add_memory_option,
    add_pickle_option,
    add_prompt_option,
    add_translator_option,
    load_captioner,
    load_memory,
    read_photos,
)
from model.error_reporting import print_error
from model.errors import OptionError
from model.output.records import (
    Maker,
    add_translations,
    choose_csv_columns,
    count_captions,
    make_csv_heading,
    make_records,
    remove_cut_line,
    to_csv,
    to_jsonl,
)
from model.output_path import check_output_file
from model.translation import load_translator

HELP = "write a caption for each photo"
STANDARD_OUTPUT = "-"
ToLine = Callable[[Mapping[str, Any]], str]
FORMAT_BY_SUFFIX = {".csv": "csv", ".jsonl": "jsonl", ".txt": "text", ".parquet": "parquet"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "paths",
        nargs="+",
        metavar="PATH",
        help="photo or folder of photos; with --engine ray also Parquet file or WebDataset shard",
    )
    add(
        "--num-beams",
        type=int,
        metavar="N",
        help="beam width; 1 is greedy search (default: the checkpoint's)",
    )
    add(
        "--num-captions",
        type=int,
        default=1,
        metavar="N",
        help="captions per photo, best first (default: 1)",
    )
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help=f"photos captioned together (default: {BATCH_SIZE}; with --engine ray as many as fit "
        "in memory)",
    )
    add(
        "--format",
        choices=("text", "jsonl", "csv", "parquet"),
        help="output format (default: by the suffix of --output, or text; with --engine ray jsonl "
        "or parquet, default jsonl)",
    )
    add(
        "--output",
        default=STANDARD_OUTPUT,
        metavar="FILE",
        help="output file, or - for standard output (default: -); CSV files begin with the byte "
        "order mark that Excel needs; with --engine ray a folder, to which later runs add",
    )
    add(
        "--resume",
        action="store_true",
        help="add to an existing --output FILE (jsonl or csv): caption only photos that it lacks",
    )
    add(
        "--engine",
        choices=("builtin", "ray"),
        default="builtin",
        help="builtin: one process (default); ray: all cores, or the cluster at RAY_ADDRESS "
        "(pip install 'ray[data]')",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="with --engine ray: number of captioners (default: one per GPU, else per core)",
    )
    add_checkpoint_option(parser)
    add_memory_option(parser)
    add_prompt_option(parser)
    add(
        "--language",
        metavar="CODE",
        help="also translate the captions into this language, such as de",
    )
    add_translator_option(parser)
    add_pickle_option(parser)


def run(settings: argparse.Namespace) -> int:
    """Caption all photos; those that cannot be read are reported and do not stop the rest."""
    options = {"num_captions": settings.num_captions}
    if settings.num_beams is not None:
        options["num_beams"] = settings.num_beams
    if settings.batch_size is not None and settings.batch_size < 1:
        raise OptionError(f"--batch-size must be at least 1, not {settings.batch_size}")
    if settings.translator is not None and settings.language is None:
        raise OptionError("--translator needs --language")
    if settings.engine == "ray":
        return run_on_ray(settings, options)
    output_format = _choose_format(settings)
    output = None if settings.output == STANDARD_OUTPUT else Path(settings.output)
    if output:
        check_output_file(output)
    begun = output if settings.resume and output and output.exists() else None
    csv_columns = choose_csv_columns(
        has_memory=settings.memory is not None, is_translated=settings.language is not None
    )
    translator = None
    if settings.language is not None:
        translator = load_translator(settings.translator)
        translator.check_language(settings.language)
    memory = load_memory(settings.memory)
    captioner = load_captioner(settings.checkpoint, settings.allow_pickle, settings.prompt)
    maker = Maker(captioner.name, settings.memory, settings.language, settings.prompt)
    counts = count_captions(begun, output_format, csv_columns, maker) if begun else {}
    done = {image for image, count in counts.items() if count >= settings.num_captions}
    photos = read_photos(settings.paths, done)
    batch_size = settings.batch_size or BATCH_SIZE
    batches = caption_all(captioner, photos, batch_size, memory=memory, **options)
    if begun:
        remove_cut_line(begun)
    to_csv_line: ToLine = partial(to_csv, columns=csv_columns)
    to_line = {"text": _to_text, "jsonl": to_jsonl, "csv": to_csv_line}[output_format]
    # Excel recognises UTF-8 by its byte order mark alone
    encoding = "utf-8-sig" if output_format == "csv" else "utf-8"
    any_failed = False
    with _open_output(output, "a" if begun else "w", encoding) as file:
        if output_format == "csv" and not (begun and begun.stat().st_size):
            file.write(make_csv_heading(csv_columns))
        for batch in batches:
            names = captioner.name, settings.memory, settings.prompt
            records_by_photo = [make_records(str(path), result, *names) for path, result in batch]
            if translator is not None:
                add_translations([*chain(*records_by_photo)], translator, settings.language)
            for (path, result), records in zip(batch, records_by_photo, strict=True):
                errors = [r["translation_error"] for r in records if "translation_error" in r]
                if isinstance(result, Exception):
                    print_error(result)
                for error in errors:
                    print_error(f"{path}: not translated: {error}")
                any_failed |= isinstance(result, Exception) or bool(errors)
                # all of a photo's lines at once: --resume relies on it
                file.write("".join(map(to_line, records)))
                file.flush()
    return int(any_failed)


def _choose_format(settings: argparse.Namespace) -> str:
    """The output format of the builtin engine; raises OptionError for settings that do not fit."""
    if settings.workers is not None or settings.format == "parquet":
        raise OptionError("--workers and --format parquet need --engine ray")
    suffix = Path(settings.output).suffix.lower()
    output_format = settings.format or FORMAT_BY_SUFFIX.get(suffix, "text")
    if output_format == "parquet":
        raise OptionError(
            f"{settings.output}: Parquet needs --engine ray, and a folder as --output"
        )
    if settings.resume and (settings.output == STANDARD_OUTPUT or output_format == "text"):
        raise OptionError("--resume needs --output FILE and --format jsonl or csv")
    return output_format


def _to_text(record: Mapping[str, Any]) -> str:
    if "error" in record:
        return ""
    translation = f"\t{record['translation']}" if "translation" in record else ""
    return f"{record['image']}: {record['caption']}{translation}\n"


@contextmanager
def _open_output(path: Path | None, mode: str, encoding: str) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
    else:
        with open(path, mode, encoding=encoding, errors="backslashreplace", newline="") as file:
            yield file
