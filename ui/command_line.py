"""The command line of `app.py`: help, as all that can be set is in the environment."""

import argparse

VARIABLES = """\
environment variables:
  CAPTIONLENS_CHECKPOINT  captioner to open with, a folder or hub id; several, separated by
                          commas, become a menu (default: the shipped one)
  CAPTIONLENS_TRANSLATOR  folder of the translator (default: the shipped one, if there is one)
  CAPTIONLENS_ALLOW_HUB   1 lets visitors name models of the hub (never on a Space)
  CAPTIONLENS_DEBUG       1 logs the trace of errors that visitors can mend themselves
  GRADIO_SERVER_NAME      address to listen on (default: 127.0.0.1; 0.0.0.0 for all)
  GRADIO_SERVER_PORT      port to listen on (default: the first free one from 7860)
  GRADIO_TEMP_DIR         folder for visitors' files
"""


def parse_arguments(arguments: list[str] | None = None) -> None:
    """Print the help where it is asked for, and end the program; `sys.argv` if None.

    A mistake ends the program with argparse's usage message and status 2.
    """
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="Serve the page: drop a photo, read its caption, see where each word looked.",
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
