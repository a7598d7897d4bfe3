"""The settings of a run: the same from the command line as from Python, checked in both."""

import dataclasses

import pytest

from model.checkpoint.hub import SHIPPED
from model.errors import OptionError
from training.settings import TrainingSettings, create_parser, name_option, parse_settings

REQUIRED = ["--data", "photos", "--output", "run"]
# what settings.json of a run folder holds: a run can only be resumed while these names stay
RECORDED = (
    "data data_shares format output checkpoint encoder image_size width layers heads vocab_size "
    "tune lora_rank rate encoder_rate encoder_blocks patch_dropout dropout weight_decay mirror "
    "crop label_smoothing teacher teacher_weight samples captions_weight epochs batch_size "
    "accumulate average patience eval_beams limit evaluations cache fp32 seed"
).split()


def create(**changes):
    return TrainingSettings(data="photos", output="run", **changes)


def test_names_of_old_run_folders_stay():
    assert [field.name for field in dataclasses.fields(TrainingSettings)] == RECORDED


def test_the_command_line_has_the_defaults_of_the_settings():
    assert parse_settings(REQUIRED) == create()
    arguments = [*REQUIRED, "--rate", "0.5", "--mirror", "--tune", "lora", "--epochs", "1.5"]
    assert parse_settings(arguments) == create(rate=0.5, mirror=True, tune="lora", epochs=1.5)
    help_text = create_parser().format_help()
    assert all(name_option(name) in help_text for name in RECORDED)


def test_defaults_that_depend_on_other_settings():
    settings = create()
    assert (settings.checkpoint, settings.rate) == (str(SHIPPED), 3e-4)
    assert settings.width is settings.lora_rank is None
    settings = create(encoder="facebook/dinov2-small", layers=2)
    assert (settings.checkpoint, settings.rate) == (None, 1e-3)
    assert (settings.image_size, settings.layers, settings.vocab_size) == (224, 2, 4000)
    assert create(tune="lora").lora_rank == 8
    for settings in (create(tune="lora"), create(encoder="x")):
        assert dataclasses.replace(settings, output="other").output == "other"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 0}, "--batch-size: must be at least 1, not 0"),
        ({"batch_size": 2.5}, "--batch-size: must be a whole number, not 2.5"),
        ({"crop": "half"}, "--crop: must be a number, not 'half'"),
        ({"tune": "all"}, "--tune: invalid choice: 'all'"),
        ({"encoder": "x", "checkpoint": "y"}, "--encoder: not allowed with argument --checkpoint"),
        ({"encoder": "x", "tune": "lora"}, "--tune: lora would leave a new decoder untrained"),
    ],
)
def test_what_is_not_allowed(changes, message):
    with pytest.raises(OptionError, match=message):
        create(**changes)
