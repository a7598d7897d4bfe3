"""What is wrong with a checkpoint's files, as a CheckpointError of one line."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from model.errors import CaptionLensError, CheckpointError

OUR_CODE = Path(__file__).parents[1]


def check_fit(path: Path, problems: Mapping[str, Sequence[str]]) -> None:
    """Raises CheckpointError for tensors, by the kind of problem, that do not fit; lists five."""
    lines = (
        f"{kind}: {', '.join(keys[:5])}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        for kind, keys in problems.items()
        if keys
    )
    if any(problems.values()):
        raise CheckpointError(f"{path}: does not fit its config.json; {'; '.join(lines)}")


@contextmanager
def blame_file(path: Path) -> Iterator[None]:
    """What a library raises over a file or folder, of whatever kind, becomes a CheckpointError.

    What our own code raises is no fault of the file, and goes on as it is.
    """
    try:
        yield
    except (CaptionLensError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers' Rust panics are no Exception
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if raised_in.is_relative_to(OUR_CODE):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{path}: {reason[0]}") from error
