"""The command line: `python -m model caption|explain|compare|info`."""

import argparse
import io
import itertools
import json
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np

from model.captioner import SHIPPED, Captioner, default_device
from model.error_reporting import print_error, report_errors
from model.errors import CaptionLensError, ImageError, OptionError
from model.explain.methods import DEFAULT_METHOD, METHODS, check_method
from model.images import find_images, load_image
from model.loading import load
from model.output.comparison import look, plain, words_to_show
from model.output.figures import SCALES, comparison_sheet, contact_sheet, save_figure
from model.output.records import (
    captioned,
    csv_writer,
    explanation_record,
    jsonl_writer,
    photo_key,
    records,
)
from model.output_path import check_output_file, check_output_folder
from model.scale.part_files import ERRORS, FORMATS

FORMAT_BY_SUFFIX = {".csv": "csv", ".jsonl": "jsonl", ".txt": "text", ".parquet": "parquet"}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model", description="Captions from photos, and where each word looked."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    caption = commands.add_parser("caption", help="write a caption for each photo")
    caption.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="photos or folders of photos; with ray also Parquet files and WebDataset shards",
    )
    caption.add_argument("--num-beams", type=int, help="beams of the search; 1 is greedy")
    caption.add_argument("--num-captions", type=int, default=1, help="captions for each photo")
    caption.add_argument(
        "--batch-size", type=int, help="photos at a time; 8, or with ray what fits the memory"
    )
    caption.add_argument(
        "--format",
        choices=("text", "jsonl", "csv", "parquet"),
        help="if not given: as the name of --output FILE ends, or text; with ray jsonl or parquet",
    )
    caption.add_argument(
        "--output",
        default="-",
        metavar="FILE",
        help="- is standard output; a CSV file begins with the byte order mark that Excel needs; "
        "with ray a folder, which a later run adds to",
    )
    caption.add_argument(
        "--resume",
        action="store_true",
        help="go on with an --output FILE of jsonl or csv: caption what it lacks",
    )
    caption.add_argument(
        "--engine",
        choices=("builtin", "ray"),
        default="builtin",
        help="ray: all cores, or the cluster at RAY_ADDRESS; pip install 'ray[data]'",
    )
    caption.add_argument(
        "--workers", type=int, help="with ray: captioners, one for each GPU or core if not given"
    )

    explain = commands.add_parser("explain", help="draw or save a map for each word")
    explain.add_argument("image", metavar="IMAGE")
    explain.add_argument("--text", metavar="SENTENCE", help="explain this, not the caption")
    explain.add_argument(
        "--method", default=DEFAULT_METHOD, help=f"how the maps are made: {', '.join(METHODS)}"
    )
    for name in ("layer", "head"):
        explain.add_argument(
            f"--{name}",
            type=int,
            nargs="+",
            metavar="N",
            help="of these alone; the mean over all if not given",
        )
    explain.add_argument(
        "--mask-sinks", action="store_true", help="leave out patches that every token looks at"
    )
    explain.add_argument(
        "--scale",
        choices=SCALES,
        default="word",
        help="the brightest patch of each word, or of all words, is shown as it is",
    )
    explain.add_argument(
        "--output", required=True, metavar="FILE", help="ends in .png, .npz or .json"
    )

    compare = commands.add_parser("compare", help="put several captioners side by side")
    compare.add_argument("paths", nargs="+", metavar="IMAGE", help="photos or folders of photos")
    compare.add_argument(
        "--checkpoints",
        nargs="+",
        required=True,
        metavar="X",
        help="at least two: folders, hub ids, or shipped",
    )
    compare.add_argument(
        "--output", metavar="FOLDER", help="gets a figure of each photo with the words' maps"
    )

    info = commands.add_parser("info", help="say what a checkpoint is")
    for command in (caption, explain, info):
        command.add_argument(
            "--checkpoint", metavar="X", help="folder or hub id; the shipped one if not given"
        )
    for command in (caption, explain, compare, info):
        command.add_argument(
            "--allow-pickle",
            action="store_true",
            help="read the tensors of pickled weights where there are no others",
        )
    return parser.parse_args(arguments)


@report_errors
def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    settings = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that is not text must not stop the rest
            stream.reconfigure(errors="backslashreplace")
    run = {"caption": caption, "explain": explain, "compare": compare, "info": info}
    status = run[settings.command](settings)
    sys.stdout.flush()  # here, where a reader that has left is no surprise
    return status


def caption(settings: argparse.Namespace) -> int:
    """Caption all photos; those that cannot be read are reported and do not stop the rest."""
    options = {"num_captions": settings.num_captions}
    if settings.num_beams is not None:
        options["num_beams"] = settings.num_beams
    if settings.batch_size is not None and settings.batch_size < 1:
        raise OptionError(f"--batch-size must be at least 1, not {settings.batch_size}")
    if settings.engine == "ray":
        return _caption_on_ray(settings, options)
    if settings.workers is not None or settings.format == "parquet":
        raise OptionError("--workers and --format parquet need --engine ray")
    suffix = Path(settings.output).suffix.lower()
    form = settings.format or FORMAT_BY_SUFFIX.get(suffix, "text")
    if form == "parquet":
        raise OptionError(
            f"{settings.output}: Parquet needs --engine ray, and a folder as --output"
        )
    if settings.resume and (settings.output == "-" or form == "text"):
        raise OptionError("--resume needs --output FILE and --format jsonl or csv")
    if settings.output != "-":
        check_output_file(settings.output)
    there = settings.resume and Path(settings.output).exists()
    counted = captioned(Path(settings.output), form) if there else {}
    done = {image for image, count in counted.items() if count >= settings.num_captions}
    captioner = _load(settings.checkpoint, settings)
    captioner.options(**options)  # complains before any photo is read
    failed = False
    encoding = "utf-8-sig" if form == "csv" else "utf-8"  # Excel knows UTF-8 by its mark alone
    with _output(settings.output, "a" if there else "w", encoding) as file:
        writers = {
            "text": _text_writer,
            "jsonl": jsonl_writer,
            "csv": partial(
                csv_writer, heading=not (there and Path(settings.output).stat().st_size)
            ),
        }
        lines = io.StringIO()
        write = writers[form](lines)
        for path, captions in _captioned(captioner, settings, options, done):
            if isinstance(captions, Exception):
                failed = True
                print_error(captions)
            for record in records(str(path), captions, captioner.name):
                write(record)
            # all of a photo's lines at once: --resume may rely on it
            file.write(lines.getvalue())
            file.flush()
            lines.seek(0)
            lines.truncate()
        file.write(lines.getvalue())  # a heading, where there was no photo
    return int(failed)


def _captioned(captioner, settings, options, done) -> Iterator[tuple[Path, object]]:
    """(path, captions or the error), in the order of the paths, a batch at a time; those in `done`
    are left out."""
    batch: list[tuple[Path, object]] = []

    def finish():
        readable = [image for _, image in batch if not isinstance(image, Exception)]
        captions = iter(captioner.captions(readable, **options) if readable else ())
        for path, image in batch:
            yield path, image if isinstance(image, Exception) else next(captions)
        batch.clear()

    for path, image in _photos(settings.paths, done):
        batch.append((path, image))
        if len(batch) >= (settings.batch_size or 8):
            yield from finish()
    yield from finish()


def _photos(given: list[str], done: Collection[str] = ()) -> Iterator[tuple[Path, object]]:
    """(path, photo or the error), of files and folders, without those whose key is in `done`."""
    for place in given:
        try:
            paths = find_images(place)
        except ImageError as error:
            yield Path(place), error
            continue
        for path in paths:
            if photo_key(str(path)) in done:
                continue
            try:
                yield path, load_image(path)
            except ImageError as error:
                yield path, error


def _caption_on_ray(settings: argparse.Namespace, options: dict) -> int:
    from model.scale.ray_engine import caption_on_ray

    format = settings.format or "jsonl"
    if format not in FORMATS:
        raise OptionError(f"--engine ray writes {' or '.join(FORMATS)}, not {format}")
    if settings.allow_pickle:
        raise OptionError("--allow-pickle does nothing with --engine ray")
    if settings.resume:
        raise OptionError("--engine ray goes on by itself: leave --resume out")
    if settings.output == "-":
        raise OptionError("--engine ray needs --output FOLDER, which gets the captions in parts")
    begun = time.monotonic()
    result = caption_on_ray(
        settings.paths,
        settings.output,
        checkpoint=settings.checkpoint or SHIPPED,
        options=options,
        format=format,
        workers=settings.workers,
        batch_size=settings.batch_size,
    )
    print(
        f"{result.captioned} photos captioned in {time.monotonic() - begun:.0f} seconds, "
        f"{result.there} were there already: {settings.output}"
    )
    if result.failed:
        print_error(f"{result.failed} could not be captioned: {Path(settings.output, ERRORS)}")
    return int(result.failed > 0)


def _text_writer(file: TextIO):
    def write(record):
        if "error" not in record:
            print(f"{record['image']}: {record['caption']}", file=file)

    return write


def explain(settings: argparse.Namespace) -> int:
    """Save the maps of a photo's caption, or of a given sentence."""
    output = Path(settings.output)
    suffix = output.suffix.lower()
    if suffix not in (".png", ".npz", ".json"):
        raise OptionError(f"{output}: the name must end in .png, .npz or .json")
    check_output_file(output)
    check_method(settings.method)
    photo = load_image(settings.image)
    captioner = _load(settings.checkpoint, settings)
    # encoded once for the caption and its maps, where the method allows
    image = photo if METHODS[settings.method].needs_photo else captioner.encode([photo])[0]
    text = settings.text if settings.text is not None else captioner.caption(image)
    explanation = captioner.explain(image, text, methods=[settings.method])
    choices = {"layer": settings.layer, "head": settings.head, "mask_sinks": settings.mask_sinks}
    maps = explanation.heatmaps(settings.method, **choices)
    attention = explanation.attention
    about = {
        "image": settings.image,
        "text": explanation.text,
        "method": settings.method,
        **choices,
        "checkpoint": captioner.name,
    }
    if suffix == ".png":
        about["scale"] = settings.scale
        save_figure(contact_sheet(photo, explanation, maps, about), output, about)
    elif suffix == ".npz":
        with open(output, "wb") as file:  # savez adds .npz to a name that ends in .NPZ
            np.savez_compressed(
                file,
                maps=np.stack(maps),
                words=np.array([word.text for word in explanation.words]),
                weights=attention.weights,
                grid_size=np.array(attention.grid_size),
                num_prefix_tokens=np.array(attention.num_prefix_tokens),
            )
    else:
        data = explanation_record(explanation, maps, about)
        output.write_text(json.dumps(data, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{explanation.text}\n{len(maps)} maps in {output}")
    for doubt in explanation.doubts(maps):
        print(doubt)
    return 0


def compare(settings: argparse.Namespace) -> int:
    """Print what each captioner says of each photo; draw the words that they share."""
    names = settings.checkpoints
    if len(set(names)) < max(2, len(names)):
        raise OptionError(f"--checkpoints needs at least two different ones, not {' '.join(names)}")
    folder = Path(settings.output) if settings.output else None
    if folder:
        check_output_folder(folder)
    captioners = [_load(name, settings) for name in names]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    failed = False
    for path, photo in _photos(settings.paths):
        if not isinstance(photo, Exception):
            try:
                sides = [look(captioner, photo) for captioner in captioners]
            except CaptionLensError as error:
                photo = error
        if isinstance(photo, Exception):
            failed = True
            print_error(photo)
            continue
        print(path)
        for side in sides:
            print(f"  {side.name} ({side.told()}): {side.explanation.text}")
        places, what = words_to_show(sides)
        shown = {
            plain(side.explanation.words[i].text): None
            for side, chosen in zip(sides, places, strict=True)
            for i in chosen
        }
        print(f"  {what}: {', '.join(shown)}")
        if folder:
            about = {"image": str(path), "method": DEFAULT_METHOD, "checkpoints": names}
            figure = _free(folder / f"{path.stem}.png")
            save_figure(comparison_sheet(photo, sides, about), figure, about)
            print(f"  maps in {figure}")
    return int(failed)


def _free(path: Path) -> Path:
    """The path, with a number where something is there already: photos may share a name."""
    numbered = (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2))
    return next(p for p in itertools.chain([path], numbered) if not p.exists())


def info(settings: argparse.Namespace) -> int:
    """Print what a checkpoint is made of."""
    captioner = _load(settings.checkpoint, settings)
    config, encoder = captioner.config, captioner.encoder

    def millions(module) -> str:
        return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} million parameters"

    rows, cols = encoder.grid_size
    facts = {
        "checkpoint": captioner.name,
        "family": captioner.family,
        "encoder": f"{config.encoder['model_type']}, {millions(encoder)}",
        "image": f"{config.image_size[0]} × {config.image_size[1]} pixels, {rows} × {cols} patches"
        f" and {encoder.num_prefix_tokens} prefix tokens, {config.image_width} wide",
        "decoder": f"{config.num_layers} layers, {config.num_heads} heads, {config.width} wide, "
        f"{millions(captioner.decoder)}",
        "tokens": f"{config.vocab_size} in the vocabulary, captions up to {config.max_length - 1}",
        "decoding": ", ".join(f"{k} {v}" for k, v in config.decoding.items()) or "defaults",
    }
    for name, fact in facts.items():
        print(f"{name + ':':<12}{fact}")
    return 0


def _load(name: str | None, settings: argparse.Namespace) -> Captioner:
    return load(name or SHIPPED, allow_pickle=settings.allow_pickle).to(default_device())


@contextmanager
def _output(name: str, mode: str, encoding: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdout
    else:
        with open(name, mode, encoding=encoding, errors="backslashreplace", newline="") as file:
            yield file


if __name__ == "__main__":
    sys.exit(main())
