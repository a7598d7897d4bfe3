from tests.support.lesson import caption, captioner, encoded, features

__all__ = ["caption", "captioner", "encoded", "features"]
