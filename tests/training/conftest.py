"""What the tests of training share."""

import pytest

from training.evaluation import metrics


@pytest.fixture
def no_java(monkeypatch):
    """METEOR, which takes seconds, is left out."""
    monkeypatch.setattr(metrics, "can_run_java", lambda: False)
