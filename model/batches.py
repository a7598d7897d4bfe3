"""Captions of many photos, of which some cannot be read."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from model.captioner import Captioner, Photo
from model.memory import Memory
from model.search.caption import Caption

BATCH_SIZE = 8  # photos captioned together: a third of the work of one by one

Image = TypeVar("Image")
Result = TypeVar("Result")
Source = TypeVar("Source")


def caption_readable(
    images: Sequence[Image | Exception], write_captions: Callable[[list[Image]], list[Result]]
) -> list[Result | Exception]:
    """Captions of a batch in which an image may be the error that was raised when it was read:
    such an error is its own result.

    write_captions: takes the images that could be read, and gives a result for each; it is not
        called when there are none.
    """
    readable = [image for image in images if not isinstance(image, Exception)]
    results = iter(write_captions(readable) if readable else [])
    return [image if isinstance(image, Exception) else next(results) for image in images]


def caption_all(
    captioner: Captioner,
    photos: Iterable[tuple[Source, Photo | Exception]],
    batch_size: int = BATCH_SIZE,
    on_step: Callable[[], object] | None = None,
    memory: Memory | None = None,
    **options: Any,
) -> Iterator[list[tuple[Source, list[Caption] | Exception]]]:
    """Caption photos in their order, yielding a batch at a time.

    Args:
        photos: (source, photo or the error that was raised when it was read); the source, whatever
            it is, comes back with the result. They are taken as they are needed.
        on_step: called after every token; what it raises ends the work.
        memory: of captions that the words may look at too.
        options: of `DecodingOptions`.

    Raises OptionError for wrong options, and for a memory that the captioner cannot look at, at
    once, before any photo is taken.
    """
    captioner.options(**options)
    if memory is not None:
        memory.check_captioner(captioner.network, captioner.name)

    def write_captions(readable: list[Photo]) -> list[list[Caption]]:
        return captioner.captions(readable, memory=memory, on_step=on_step, **options)

    def caption_batches() -> Iterator[list[tuple[Source, list[Caption] | Exception]]]:
        remaining = iter(photos)
        while batch := list(islice(remaining, batch_size)):
            images: list[Photo | Exception] = [image for _, image in batch]
            # mypy makes `object` of the many types that a photo may have
            results = caption_readable(images, write_captions)  # type: ignore[arg-type]
            yield [(source, result) for (source, _), result in zip(batch, results, strict=True)]

    return caption_batches()
