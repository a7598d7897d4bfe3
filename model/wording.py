"""Sentences about captions and maps that the page, the command line and the figures share."""

NOTHING_TO_SAY = "The model has nothing to say about this photo."  # a caption without words
ALIKE_MAPS = "The maps hardly depend on the word: they show one place for all of them."


def describe_unneeded_photo(word: str, probability: float, without_photo: float) -> str:
    """The sentence for a word that is hardly more likely with the photo than without it."""
    return (
        f"“{word}” hardly needs the photo: {probability:.0%} likely with it, "
        f"{without_photo:.0%} without."
    )
