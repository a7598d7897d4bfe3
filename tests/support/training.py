"""Settings of small runs."""

from pathlib import Path
from typing import Any

from training.settings import TrainingSettings


def settings(flickr: Path, start: Path, output: Path, **changes: Any) -> TrainingSettings:
    """Settings of a run in which a step takes two photos."""
    defaults = dict(
        data=str(flickr),
        checkpoint=str(start),
        output=str(output),
        cache=str(output.parent / "cache"),
        batch_size=2,
        fp32=True,
    )
    return TrainingSettings(**(defaults | changes))
