"""Which captioners the page offers, and the loaded ones."""

import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from model import Captioner, load
from model.captioner import SHIPPED, SHIPPED_NAME, default_device
from model.checkpoint.hub import is_hub_id, model_name
from model.errors import CheckpointError

ROOT = Path(__file__).parents[2]
AT_ONCE = 2  # captioners kept in memory


class Captioners:
    """Captioners by name, loaded when they are asked for; the last few stay in memory.

    Offered are the host's own (CAPTIONLENS_CHECKPOINT: folders and hub ids, with commas
    between), the shipped one, and the best of each training run. One may also name a model of the
    hub, but not on a Space, where strangers would fill its disk, and no folder of the host's.
    """

    def __init__(self):
        listed = os.environ.get("CAPTIONLENS_CHECKPOINT", "").split(",")
        own = [name.strip() for name in listed if name.strip()]
        runs = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("runs/*/best"))]
        self._places = {name: name for name in own}
        self._places |= {SHIPPED_NAME: SHIPPED} | {run: ROOT / run for run in runs}
        self._loaded: OrderedDict[str, Captioner] = OrderedDict()
        self._is_space = "SPACE_ID" in os.environ
        self._lock = Lock()
        self._loading: dict[str, Lock] = {}

    @property
    def names(self) -> list[str]:
        """What is offered, the first chosen at the start."""
        return list(self._places)

    @property
    def has_choice(self) -> bool:
        """Whether there is more than one to be had."""
        return len(self._places) > 1 or not self._is_space

    def get(self, name: str | None = None) -> Captioner:
        """A captioner, loaded at most once while it is in use; the first one if no name is given.

        Raises CheckpointError, in one line, for what cannot be had.
        """
        name = str(name or "").strip() or self.names[0]
        if name not in self._places:
            name = str(model_name(name))  # also by the address of its page
        place = self._places.get(name)
        if place is None:
            if self._is_space:
                raise CheckpointError(f"{name}: choose a model of the list")
            if not is_hub_id(name) or Path(name).exists():
                raise CheckpointError(f"{name}: choose a model of the list, or name one of the hub")
            place = name
        with self._lock:
            loading = self._loading.setdefault(name, Lock())
        with loading:  # who asks for one that is there need not wait
            with self._lock:
                if name in self._loaded:
                    self._loaded.move_to_end(name)
                    return self._loaded[name]
            captioner = load(place).to(default_device())
            captioner.name = name  # not the host's path: it is told to visitors
            with self._lock:
                self._loaded[name] = captioner
                while len(self._loaded) > AT_ONCE:
                    self._loaded.popitem(last=False)
            return captioner
