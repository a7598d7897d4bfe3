"""Photos like the training photos are near, others far, and the checkpoint knows where to tell."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from transformers import SiglipVisionConfig

from model import CheckpointError, load
from model.checkpoint.hub import SHIPPED
from model.explain.familiarity import FAMILIARITY, RIDGE, Familiarity
from model.network.network import EncodedPhoto
from tests.support.known_answers import draw_noise
from tests.support.paths import EXAMPLES
from tests.support.tiny import draw_photo, tiny_captioner
from training.average import average_captioners
from training.familiarity import main
from training.loop.trainer import replace_checkpoint

WIDTH = 32  # of the tiny captioners' features


def vectors(count, seed, scale=1.0):
    """Features (count, WIDTH) of which some directions vary a hundred times more than others."""
    normal = torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))
    return scale * normal * torch.logspace(-1, 1, WIDTH)


@pytest.fixture
def familiarity():
    return Familiarity.fit(vectors(400, 0), vectors(200, 1))


def as_photo(image_features):
    return EncodedPhoto(torch.zeros(3, 1, 1), image_features)


@pytest.fixture
def folder(tmp_path, familiarity):
    captioner = tiny_captioner()
    captioner.familiarity = familiarity
    captioner.save_pretrained(tmp_path / "captioner")
    return tmp_path / "captioner"


@pytest.mark.parametrize("count", [400, 10])  # more photos than dimensions, and fewer
def test_distance_is_that_of_the_formulas(count):
    """Lee et al. (2018), equation 1, with one class, as it is written."""
    train, features = vectors(count, 0).double().numpy(), vectors(6, 2)
    covariance = np.cov(train.T, bias=True)
    covariance += RIDGE * np.trace(covariance) / WIDTH * np.eye(WIDTH)
    x = features.numpy()[0]  # the class token
    x = x / np.linalg.norm(x) - train.mean(0)
    expected = np.sqrt(x @ np.linalg.inv(covariance) @ x)
    familiarity = Familiarity.fit(vectors(count, 0), vectors(5, 1))
    found = familiarity.compute_distance(as_photo(features))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_threshold_is_a_quantile_of_other_photos(familiarity):
    dev = vectors(200, 1)
    assert (
        familiarity.compute_distances(dev) > familiarity.threshold
    ).sum() == 2  # one in a hundred
    assert (
        familiarity.compute_distances(vectors(1000, 3)) > familiarity.threshold
    ).float().mean() < 0.05
    # as long as the others, but along directions in which the training photos hardly vary
    strange = vectors(100, 4).flip(1)
    assert (familiarity.compute_distances(strange) > familiarity.threshold).all()


def test_same_photos_have_no_distance():
    for count in (1, 3):
        with pytest.raises(ValueError, match="the training photos are all the same"):
            Familiarity.fit(vectors(1, 0).repeat(count, 1), vectors(5, 1))


def test_the_command_tells_strange_photos_from_the_photos_of_a_folder(
    flickr,
    start,
    capsys,
):
    colours = np.random.default_rng(0).integers(0, 256, (60, 3)).tolist()
    names = [f"{i}.jpg" for i in range(60)]
    for name, colour in zip(names, colours, strict=True):
        draw_photo(60, 60, tuple(colour)).save(flickr / "images" / name)
    (flickr / "Flickr8k.token.txt").write_text("".join(f"{n}#0\ta dog\n" for n in names))
    (flickr / "Flickr_8k.trainImages.txt").write_text("\n".join(names[:40]))
    (flickr / "Flickr_8k.devImages.txt").write_text("\n".join(names[40:]))
    assert load(start).familiarity is None
    assert main(["--data", str(flickr), "--checkpoint", str(start)]) == 0
    assert "1 of 20 dev photos are farther than" in capsys.readouterr().out
    captioner = load(start)
    like, noise = draw_photo(60, 60, (90, 90, 200)), np.random.default_rng(1)
    strange = noise.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    like, strange = captioner.encode([like, strange])
    assert not captioner.familiarity.is_unfamiliar(like) and captioner.familiarity.is_unfamiliar(
        strange
    )
    assert captioner.familiarity.compute_distance(
        strange
    ) > 2 * captioner.familiarity.compute_distance(like)
    # the same command again, on the checkpoint that has one
    before = (start / FAMILIARITY).read_bytes()
    assert main(["--data", str(flickr), "--checkpoint", str(start)]) == 0
    assert (start / FAMILIARITY).read_bytes() == before


def test_the_command_fails_in_one_line(flickr, start, tmp_path, capsys):
    siglip = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        patch_size=14,
        image_size=56,
    )
    tiny_captioner(encoder=siglip).save_pretrained(tmp_path / "siglip")
    for data, checkpoint, message in (
        (flickr, tmp_path / "nowhere", "no such checkpoint folder"),
        (flickr, "someone/captioner", "no such checkpoint folder"),  # it could not be written to
        (tmp_path / "nothing", start, "found neither Flickr8k.token.txt"),
        (flickr, tmp_path / "siglip", "no class token"),
    ):
        assert main(["--data", str(data), "--checkpoint", str(checkpoint)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not (start / FAMILIARITY).exists()


# --- in a checkpoint -----------------------------------------------------------------------------


def test_several_folders_are_one_set_of_photos(flickr, start, tmp_path, capsys):
    other = shutil.copytree(flickr, tmp_path / "other", ignore=shutil.ignore_patterns("start"))
    assert main(["--data", str(flickr), str(other), "--checkpoint", str(start)]) == 0
    assert "of 4 dev photos" in (told := capsys.readouterr().out) and "of 8 train photos" in told


def test_saved_is_loaded(folder, familiarity):
    found = load(folder).familiarity
    for name, tensor in vars(familiarity).items():
        assert torch.equal(getattr(found, name), tensor)
    photo = as_photo(vectors(6, 5))
    assert found.compute_distance(photo) == pytest.approx(familiarity.compute_distance(photo))
    assert type(found.is_unfamiliar(photo)) is bool


def test_one_that_was_there_before_does_not_stay(folder):
    tiny_captioner(seed=1).save_pretrained(folder)
    assert not (folder / FAMILIARITY).exists() and load(folder).familiarity is None


def test_training_and_averaging_drop_it(folder, tmp_path):
    assert load(folder).familiarity is not None
    replace_checkpoint(load(folder).network, tmp_path / "best")
    assert load(tmp_path / "best").familiarity is None
    assert average_captioners([load(folder), load(folder)], [1, 1]).familiarity is None


def test_the_shipped_one_is_of_the_shipped_weights():
    captioner = load()
    if captioner.familiarity is None:
        pytest.skip("none has been computed for these weights")
    chart = Image.new("RGB", (224, 224), "white")
    for left, height in enumerate((40, 120, 80, 170, 60)):
        bar = [20 + 40 * left, 210 - height, 45 + 40 * left, 210]
        ImageDraw.Draw(chart).rectangle(bar, fill=(40, 90, 200))
    graphics = [chart, Image.new("RGB", (224, 224), (200, 30, 30)), draw_noise()]
    photos = [path for path in EXAMPLES if path.stem in ("astronaut", "photographer", "rocket")]
    is_unfamiliar = captioner.familiarity.is_unfamiliar
    assert all(is_unfamiliar(picture) for picture in captioner.encode(graphics))
    assert not any(is_unfamiliar(photo) for photo in captioner.encode(photos))
    assert (SHIPPED / FAMILIARITY).stat().st_size < 700_000


def change(**tensors):
    def spoil(path):
        save_file({**load_file(path), **tensors}, path)

    return spoil


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda p: p.write_bytes(b""), "cannot be read"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "cannot be read"),
        (change(mean=torch.zeros(3)), r"mean is \(3,\), not \(32,\)"),
        (change(whitening=torch.zeros(32)), r"whitening is \(32,\), not \(32, 32\)"),
        (change(threshold=torch.zeros(1)), r"threshold is \(1,\), not \(\)"),
        (lambda p: save_file({"mean": torch.zeros(32)}, p), "whitening is missing"),
        (change(threshold=torch.tensor(torch.nan)), "threshold is not finite"),
    ],
)
def test_a_spoilt_file_is_one_clear_line(folder, spoil, message):
    spoil(folder / FAMILIARITY)
    with pytest.raises(CheckpointError, match=f"{FAMILIARITY}: .*{message}.*; delete it") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
