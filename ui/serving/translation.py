"""The page's translator: the one that the host names, the shipped one, or none."""

import os
from functools import cache

from model.errors import OptionError
from model.translation import Translator, load_translator
from model.translation.translator import SHIPPED_TRANSLATOR

LANGUAGE_NAMES = {"cs": "Czech", "de": "German", "fr": "French"}  # of others the code is shown


@cache
def get_translator() -> Translator | None:
    """The translator in the folder CAPTIONLENS_TRANSLATOR, or else the shipped one; None where
    there is neither, and the page translates nothing.

    Raises CheckpointError, in one line, for one that cannot be read.
    """
    folder = os.environ.get("CAPTIONLENS_TRANSLATOR", "").strip()
    if not folder and not SHIPPED_TRANSLATOR.is_dir():
        return None
    return load_translator(folder or None)


def require_translator(language: str) -> Translator:
    """The page's translator; raises OptionError where there is none into this language."""
    translator = get_translator()
    if translator is None:
        raise OptionError("this page has no translator; leave the language empty")
    translator.check_language(language)
    return translator


def name_languages() -> dict[str, str]:
    """The languages that the page offers, code to name; none without a translator."""
    translator = get_translator()
    codes = translator.languages if translator else []
    return {code: LANGUAGE_NAMES.get(code, code) for code in codes}
