"""Make a captioner ready for others: `python -m training.export RUN --output DIR`.

A folder with the run's best captioner in half precision and a model card written from the run,
which opens in the app, on the command line and in Python by its name; `--push` takes it to the hub.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from model import Captioner, load
from model.captioner import SHIPPED
from model.checkpoint import hub
from model.error_reporting import report_errors
from model.errors import CheckpointError, DataError, OptionError, RunError
from model.explain.familiarity import FAMILIARITY
from model.output_path import check_output_folder
from training.loop.run_folder import BEST, CURVE
from training.publish.model_card import Run, write_card

CARD = "README.md"


def find(folder: Path) -> tuple[Path, Run]:
    """The captioner's folder and its run, from either folder; a captioner may also have no run.

    Raises ValueError for a folder that is neither.
    """
    run = folder.parent if folder.name == BEST else folder
    if (run / BEST / "config.json").is_file():
        return run / BEST, Run.read(run)
    if (folder / "config.json").is_file():
        return folder, Run()
    raise DataError(f"{folder}: neither a run (no {BEST}/config.json) nor a captioner")


def read_scores(path: Path, captioner: Path) -> dict:
    """What `training.evaluate` wrote about the captioner in this folder.

    Raises ValueError for another kind of file, or the scores of another captioner.
    """
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
        metrics = [scores[name] + scores["no_image"][name] for name in scores["made_with"]]
        of = SHIPPED if scores["checkpoint"] == "shipped" else Path(scores["checkpoint"])
        complete = metrics and {"data", "split", "num_images", "decoding"} <= scores.keys()
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise DataError(f"{path}: not scores that training.evaluate wrote with --output")
    if of.is_dir() and not of.samefile(captioner):
        raise DataError(f"{path}: scores of {of}, not of {captioner}")
    return scores


def export(
    run: Path,
    output: Path,
    name: str | None = None,
    scores: Path | None = None,
    license: str = "other",
) -> None:
    """Write captioner, card and learning curve into a new folder, all of it or nothing.

    name: the hub id it will have; the folder's name if it has none.

    Raises ValueError or OSError, in one line, for what cannot be exported, an output with
    something in it, or a captioner that does not come back as it was written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output}: exists already; give a new folder")
    check_output_folder(output.parent)  # where it is built, beside its place
    folder, known = find(run)
    captioner = load(folder)
    card = write_card(
        captioner,
        name or output.resolve().name,
        known,
        read_scores(scores, folder) if scores else None,
        license,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as beside:
        built = Path(beside) / output.name
        captioner.save_pretrained(built)
        (built / CARD).write_text(card, encoding="utf-8")
        if known.curve:
            shutil.copyfile(known.curve, built / CURVE)
        check(built, captioner)
        if output.exists():
            output.rmdir()
        built.rename(output)


def check(folder: Path, captioner: Captioner) -> None:
    """Load what was written, and compare it with what was meant.

    Raises CheckpointError where they differ.
    """
    again = load(folder)
    written = again.state_dict()
    differ = [
        name
        for name, weight in captioner.state_dict().items()
        if not torch.equal(weight.half(), written[name].half())
    ]
    if again.config != captioner.config:
        differ.append("config.json")
    if again.tokenizer.tokenizer.to_str() != captioner.tokenizer.tokenizer.to_str():
        differ.append("tokenizer.json")
    if differ:
        raise CheckpointError(
            f"not read back as written: {', '.join(differ[:5])}; nothing exported"
        )


def push(folder: Path, repo_id: str, private: bool) -> str:
    """Upload a folder as a model of the hub; returns its address.

    Raises ValueError, in one line, that says how to go on.
    """
    later = f"{folder} is written, and `hf upload {repo_id} {folder}` pushes it later"
    api = HfApi()
    try:
        repo = api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.repo_info(repo.repo_id).private:
            raise RunError(f"{repo_id} is there already, and public; nothing pushed; {later}")
        api.upload_folder(
            repo_id=repo.repo_id,
            folder_path=folder,
            commit_message="Captioner exported by CaptionLens",
            # of an earlier captioner, they would not fit this one
            delete_patterns=[FAMILIARITY, CURVE],
        )
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise RunError(f"the hub does not know you: run `hf auth login`; {later}") from error
        raise RunError(f"not pushed ({error}); {later}") from error
    except (HTTPError, OSError) as error:  # no network, or offline mode
        raise RunError(f"the hub cannot be reached ({error}); {later}") from error
    return str(repo)


@report_errors
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.export",
        description="Write a captioner and its model card into a folder, and push it to the hub.",
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="run of training.train, or a captioner's folder")
    add("--output", required=True, metavar="DIR", type=Path, help="a new folder")
    add(
        "--scores",
        metavar="FILE.json",
        type=Path,
        help="written by training.evaluate; for the card",
    )
    add(
        "--license",
        metavar="ID",
        default="other",
        help="as the hub names it; depends on the photos",
    )
    add("--push", metavar="USER/NAME", help="upload it to the hub under this name")
    add("--private", action="store_true", help="where nobody else sees it")
    settings = parser.parse_args(arguments)
    if settings.private and not settings.push:
        parser.error("argument --private: stands beside --push")
    if settings.push:  # before anything is written
        if not hub.is_hub_id(settings.push):
            raise OptionError(f"--push {settings.push}: not a hub id such as USER/NAME")
        if get_token() is None:
            raise RunError("not logged in to the hub: run `hf auth login` first")
    export(settings.run, settings.output, settings.push, settings.scores, settings.license)
    print(f"{settings.output} holds the captioner and its card, {CARD}")
    if settings.push:
        print(f"pushed to {push(settings.output, settings.push, settings.private)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
