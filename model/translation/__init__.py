"""Translation: the captioner's decoder looking at a sentence instead of a photo.

`load_translator` opens a translator; `Translator` and `Translation` are what it gives.
"""

from model.translation.translator import Translation, Translator, load_translator

__all__ = ["Translation", "Translator", "load_translator"]
