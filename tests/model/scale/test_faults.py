"""A fault of the program while one photo is captioned is in its record, with the trace."""

import io

from model.captioner import Captioner
from model.output.records import make_records
from model.scale import ray_engine
from model.scale.ray_engine import CaptionTask, Worker, read_source
from tests.support.tiny import draw_photo, tiny_captioner


def make_worker() -> Worker:
    """A worker without Ray."""
    worker = object.__new__(Worker)
    worker.task = CaptionTask("tiny", {}, memory=None, prompt=None, language=None, translator=None)
    worker.captioner, worker.attempts, worker.memory = tiny_captioner(), None, None
    return worker


def fail_strict_zip(*_, **__):
    list(zip([1], [1, 2], strict=True))


def test_a_slip_while_captioning_is_a_record_with_its_trace(monkeypatch):
    monkeypatch.setattr(Captioner, "captions", fail_strict_zip)
    file = io.BytesIO()
    draw_photo().save(file, "PNG")
    row = {"image": "a.png", "bytes": file.getvalue(), "error": "", "trace": ""}
    results = make_worker()._caption_rows([row, {**row, "bytes": b"?"}])
    record, unreadable = (make_records("a.png", result, "tiny")[0] for result in results)
    assert record["error"].startswith("a fault in CaptionLens (ValueError: zip()")
    assert "fail_strict_zip" in record["trace"]
    assert set(unreadable) == {"image", "error"}


def test_a_slip_while_reading_is_a_record_with_its_trace(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_engine, "read_shard", fail_strict_zip)
    draw_photo().save(tmp_path / "a.png")
    source = {"image": "a.png", "path": b"a.png", "error": ""}
    rows = list(read_source(source, None, str(tmp_path)))
    record = make_records("a.png", make_worker()._caption_rows(rows)[0], "tiny")[0]
    assert record["error"].startswith("a fault in CaptionLens")
    assert "fail_strict_zip" in record["trace"]
