"""The recipe of the shipped checkpoint: a chain of commands that can be given."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT
from training.settings import parse_settings

RECIPE = ROOT / "training" / "recipe.sh"
PYTHON = """#!{python}
# stands for `python`: writes down what it is told, and leaves what the command would
import json, pathlib, sys
told = sys.argv[1:]
with open("{log}", "a") as log:
    print(json.dumps(told), file=log)
if "--output" in told:
    place = pathlib.Path(told[told.index("--output") + 1])
    place = place / "best" if told[1] in ("training.train", "training.pretrain") else place
    place.mkdir(parents=True)
    (place / "config.json").write_text('{{"kept": 1}}')
if told[0] == "-":
    del sys.argv[0]
    exec(sys.stdin.read())
"""


def test_every_run_goes_on_from_one_before_it(tmp_path):
    log, stand_in = tmp_path / "log", tmp_path / "python"
    stand_in.write_text(PYTHON.format(python=sys.executable, log=log))
    stand_in.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SEED": "40"}
    environment["TEXTS"] = "one.txt two.txt"
    to = tmp_path / "runs"
    subprocess.run(["bash", RECIPE, "flickr8k", "coco", to], check=True, env=environment)
    made, seeds, data = set(), [], []
    for told in map(json.loads, log.read_text().splitlines()):
        if told[1] == "training.train":
            settings = parse_settings(told[2:])
            assert settings.encoder == "facebook/dinov2-small" or settings.checkpoint in made
            made.add(f"{settings.output}/best")
            seeds.append(settings.seed)
            data.append(settings.data)
        elif told[1] == "training.average":
            *sources, mean = [word for word in told if word.startswith(str(to))]
            assert set(sources) <= made
            made.add(mean)
        elif told[1] == "training.pretrain":
            options = dict(zip(told[2:], told[3:], strict=False))
            assert options["--encoder"] in made and "two.txt" in told
            made.add(f"{options['--output']}/best")
        elif told[0] == "-m":
            assert told[-1] == f"{to}/shipped"
    assert f"{to}/critical5/best" in made and seeds == list(range(40, 53))
    assert data == [("flickr8k",)] * 9 + [("flickr8k", "coco")] * 4
    shipped = json.loads(Path("assets/checkpoint/config.json").read_text())
    config = json.loads((to / "shipped" / "config.json").read_text())
    changed = {name: shipped[name] for name in ("decoding", "merged_patches")}
    assert config == {"kept": 1, **changed}


def test_it_asks_for_the_photos():
    for given in ([], ["flickr8k"], ["flickr8k", "coco"]):
        told = subprocess.run(["bash", RECIPE, *given], capture_output=True, text=True)
        assert told.returncode and "bash training/recipe.sh FLICKR8K COCO" in told.stderr
