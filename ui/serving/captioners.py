"""Which captioners the page offers, and the loaded ones."""

import os
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from threading import Lock

from model import Captioner, load
from model.captioner import choose_device
from model.checkpoint.hub import SHIPPED, SHIPPED_NAME, is_hub_id, resolve_model_name
from model.errors import CheckpointError
from ui.serving.executor import CORES
from ui.serving.trial import try_checkpoint

ROOT = Path(__file__).parents[2]
MAX_LOADED = 2  # captioners kept in memory


class Captioners:
    """Captioners by name, loaded when they are asked for; the last few stay in memory.

    Offered are the host's own (CAPTIONLENS_CHECKPOINT: folders and hub ids, with commas
    between), the shipped one, and the best of each training run. Where the host says so
    (CAPTIONLENS_ALLOW_HUB=1), but never on a Space, a visitor may also name a model of the hub,
    which is tried in a process of its own at first. Nobody may name a folder of the host's.
    """

    def __init__(self):
        listed = os.environ.get("CAPTIONLENS_CHECKPOINT", "").split(",")
        own = [name.strip() for name in listed if name.strip()]
        runs = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("runs/*/best"))]
        self._checkpoints = {name: name for name in own}
        self._checkpoints |= {SHIPPED_NAME: SHIPPED} | {run: ROOT / run for run in runs}
        is_space = "SPACE_ID" in os.environ
        self.allows_hub = not is_space and os.environ.get("CAPTIONLENS_ALLOW_HUB") == "1"
        self._lock = Lock()
        self._loaded: OrderedDict[str, Captioner] = OrderedDict()
        self._loading: dict[str, Future[Captioner]] = {}

    @property
    def names(self) -> list[str]:
        """What is offered, the one to begin with first."""
        return list(self._checkpoints)

    @property
    def has_choice(self) -> bool:
        """Whether a visitor can have more than one."""
        return len(self._checkpoints) > 1 or self.allows_hub

    def get(self, name: str | None = None, prompt: str | None = None) -> Captioner:
        """The captioner of this name, loaded once however many ask; the first if none is given.

        prompt: what it is asked, where it takes a prompt; its own question if empty.

        Raises CheckpointError, in one line, for what cannot be had, and OptionError for a prompt
        that it cannot be asked.
        """
        captioner = self._get_loaded(name)
        prompt = str(prompt or "").strip()
        if not prompt or captioner.prompt in (None, prompt):
            return captioner
        return captioner.with_prompt(prompt)

    def _get_loaded(self, name: str | None) -> Captioner:
        name = str(name or "").strip() or self.names[0]
        if name not in self._checkpoints:
            name = str(resolve_model_name(name))  # also by the address of its page
        self._check_offered(name)
        with self._lock:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return self._loaded[name]
            is_first = name not in self._loading
            if is_first:
                self._loading[name] = Future()
            loading = self._loading[name]
        with CORES.released():  # others go on while this waits
            if is_first:
                self._load(name, loading)
            return loading.result()

    def _check_offered(self, name: str) -> None:
        """Raise CheckpointError for a name that cannot be had here."""
        if name in self._checkpoints:
            return
        if not self.allows_hub:
            raise CheckpointError(f"{name}: choose a model of the list")
        if not is_hub_id(name) or Path(name).exists():
            raise CheckpointError(f"{name}: choose a model of the list, or name one of the hub")

    def _load(self, name: str, loading: Future[Captioner]) -> None:
        """Load a captioner for all who wait for it; they also get what it raises."""
        try:
            # the host's own are not tried: the host chose them
            checkpoint = self._checkpoints.get(name) or try_checkpoint(name)
            captioner = load(checkpoint).to(choose_device())
            captioner.name = name  # not the host's path: visitors see it
        except BaseException as error:
            with self._lock:
                del self._loading[name]
            loading.set_exception(error)
            return
        with self._lock:
            del self._loading[name]
            self._loaded[name] = captioner
            while len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
        loading.set_result(captioner)
