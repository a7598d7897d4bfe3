"""Uploading an exported captioner to the hub."""

from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from model.checkpoint.hub import is_hub_id
from model.errors import OptionError, RunError
from model.explain.familiarity import FAMILIARITY
from training.loop.run_folder import CURVE


def check_upload(repo_id: str) -> None:
    """Raise OptionError for what is no hub id, RunError where nobody is logged in to the hub."""
    if not is_hub_id(repo_id):
        raise OptionError(f"--push {repo_id}: not a hub id such as USER/NAME")
    if get_token() is None:
        raise RunError("not logged in to the hub: run `hf auth login` first")


def upload_captioner(folder: Path, repo_id: str, private: bool) -> str:
    """Upload a folder as a model of the hub; returns its address.

    Raises RunError, in one line, that says how to go on.
    """
    advice = f"{folder} is written, and `hf upload {repo_id} {folder}` pushes it later"
    api = HfApi()
    try:
        repo = api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.repo_info(repo.repo_id).private:
            raise RunError(f"{repo_id} is there already, and public; nothing pushed; {advice}")
        api.upload_folder(
            repo_id=repo.repo_id,
            folder_path=folder,
            commit_message="Captioner exported by CaptionLens",
            # an earlier captioner's would not fit this one
            delete_patterns=[FAMILIARITY, CURVE],
        )
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise RunError(f"the hub does not know you: run `hf auth login`; {advice}") from error
        raise RunError(f"not pushed ({error}); {advice}") from error
    except (HTTPError, OSError) as error:  # no network, or offline mode
        raise RunError(f"the hub cannot be reached ({error}); {advice}") from error
    return str(repo)
