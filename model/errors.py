"""Every error that a user may see; its message is one line that says what to do.

The commands and the page tell these as the user's to mend, the commands OSErrors too. Any other
exception is a fault of the program, and keeps its trace.
"""


class CaptionLensError(Exception):
    """What a user can mend."""


class CheckpointError(CaptionLensError, ValueError):
    """A checkpoint that cannot be used."""


class ImageError(CaptionLensError, ValueError):
    """An image that cannot be used: its name, what is wrong, and what to do."""


class DataError(CaptionLensError, ValueError):
    """A dataset, or a file of results, that cannot be used."""


class OptionError(CaptionLensError, ValueError):
    """An option or argument that cannot be used."""


class RunError(CaptionLensError, RuntimeError):
    """Work that cannot go on: training that diverges, a hub or a cluster that is not there."""
