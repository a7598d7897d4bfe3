"""The captioner as one thing: encoder, decoder, tokenizer and preprocessing load, save and run
together, in the layout of a model on the hub."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor
from transformers.initialization import no_init_weights

from model.checkpoint.hub import WEIGHTS, checkpoint_folder, model_name
from model.checkpoint.limits import check_settings
from model.errors import CheckpointError, OptionError
from model.explain.alternatives import Alternative, alternatives
from model.explain.explanation import Explanation, explain
from model.explain.familiarity import FAMILIARITY, Familiarity
from model.explain.methods import DEFAULT_METHOD
from model.images import load_image, thinned
from model.network.config import FORMAT, CaptionerConfig, blame_file, check_fit
from model.network.decoder import TextDecoder
from model.network.encoder import ImageEncoder
from model.network.tokenizer import CaptionTokenizer
from model.network.transformers_decoder import TransformersDecoder
from model.search.caption import Caption, with_probabilities
from model.search.generation import DecodingOptions, Hypothesis, generate

SHIPPED = Path(__file__).parent.parent / "assets" / "checkpoint"
SHIPPED_NAME = "shipped"


class Captioner(nn.Module):
    """An image encoder and a text decoder with all that they need to run on a photo.

    An "image" below is anything `load_image` takes, or the features that `encode` gave for it;
    "images" is any number of them: a list, a generator, a tensor of features or of photos
    (B, 3, height, width).

    `familiarity` tells a photo unlike the training photos, where the checkpoint can: it is None
    in one whose encoder has been changed since. `family` says whose format the checkpoint has;
    only our own can be saved.
    """

    def __init__(
        self,
        config: CaptionerConfig,
        tokenizer: CaptionTokenizer,
        image_processor: Any,
        encoder: ImageEncoder | None = None,
        decoder: TransformersDecoder | None = None,
    ):
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.name = "untitled"
        self.family = FORMAT
        self.familiarity: Familiarity | None = None
        self.encoder = encoder or ImageEncoder(
            AutoConfig.for_model(**config.encoder), config.image_size
        )
        self.decoder = decoder or TextDecoder(
            vocab_size=config.vocab_size,
            max_length=config.max_length,
            width=config.width,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            image_width=config.image_width,
            mlp_ratio=config.mlp_ratio,
            project_image=config.project_image,
            dropout=config.dropout,
        )

    # --- load, save, push -------------------------------------------------------------------

    @classmethod
    def from_encoder(
        cls,
        encoder_name: str,
        tokenizer: CaptionTokenizer,
        image_size: tuple[int, int] = (224, 224),
        **settings: Any,
    ) -> "Captioner":
        """A pretrained image encoder with a new decoder that has yet to learn.

        Photos are squashed to `image_size`, never cropped: a map must cover the whole photo.
        settings: of `CaptionerConfig`.
        """
        encoder = ImageEncoder.from_pretrained(encoder_name, image_size)
        processor = AutoImageProcessor.from_pretrained(encoder_name, trust_remote_code=False)
        processor.size = {"height": image_size[0], "width": image_size[1]}
        processor.do_resize, processor.do_center_crop = True, False
        config = CaptionerConfig(
            encoder=encoder.backbone.config.to_diff_dict(),
            image_size=image_size,
            vocab_size=tokenizer.vocab_size,
            **settings,
        )
        return cls(config, tokenizer, processor, encoder).eval()

    @classmethod
    def from_pretrained(cls, name: str | Path = SHIPPED) -> "Captioner":
        """Load a folder, or a repository of the hub.

        Raises CheckpointError, in one line, for what is not a captioner or does not fit: missing,
        unexpected or wrong-shaped tensors are listed, and nothing runs on random weights.
        """
        name = model_name(name)
        folder = checkpoint_folder(name)
        check_settings(folder)
        config = CaptionerConfig.load(folder)
        tokenizer = CaptionTokenizer.load(folder)
        if tokenizer.vocab_size > config.vocab_size:
            raise CheckpointError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, "
                f"config.json says {config.vocab_size}"
            )
        if not all(0 <= token < config.vocab_size for token in (tokenizer.start, tokenizer.end)):
            raise CheckpointError(f"{folder}: its start or end token is not in the vocabulary")
        if not (folder / "preprocessor_config.json").is_file():
            raise CheckpointError(f"{folder / 'preprocessor_config.json'}: missing")
        with blame_file(folder / "preprocessor_config.json"):
            processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        with blame_file(folder / "config.json"):  # sizes that make no network
            with torch.device("meta"):  # no memory, until the sizes are known to fit the file
                planned = cls(config, tokenizer, processor)
            try:
                planned.options()
            except OptionError as error:
                raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
            _check_weights(planned, folder / WEIGHTS)
            with no_init_weights():  # every weight is read from the file
                captioner = cls(config, tokenizer, processor)
        captioner.name = str(name) if folder != SHIPPED else SHIPPED_NAME
        _load_weights(captioner, folder / WEIGHTS)
        captioner.familiarity = Familiarity.load(folder, config.image_width)
        return captioner.eval()

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
        """Write `config.json`, weights, `tokenizer.json` and `preprocessor_config.json`, and
        `familiarity.safetensors` if there is a familiarity."""
        if self.family != FORMAT:
            raise CheckpointError(f"{self.name}: a {self.family} captioner; only ours are saved")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {k: v.to("cpu", dtype).contiguous() for k, v in self.state_dict().items()}
        if broken := [k for k, v in weights.items() if not v.isfinite().all()]:
            raise CheckpointError(f"{', '.join(broken[:5])}: not finite in {dtype}; nothing saved")
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        self.config.save(folder)
        self.tokenizer.save(folder)
        self.image_processor.save_pretrained(folder)
        if self.familiarity:
            self.familiarity.save(folder)
        else:  # what an earlier captioner left here does not fit these weights
            (folder / FAMILIARITY).unlink(missing_ok=True)

    def push_to_hub(self, repo_id: str, *, private: bool = False, token: str | None = None) -> str:
        """Save and upload as a model repository; returns its address."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.upload_folder(repo_id=repo.repo_id, folder_path=folder)
        return str(repo)

    # --- run --------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def pixel_values(self, images: Iterable[Any]) -> Tensor:
        """Photos (anything `load_image` takes) as the encoder's input (B, 3, height, width)."""
        photos = [load_image(image) for image in _list_images(images)]
        processor = self.image_processor
        if processor.do_resize and not getattr(processor, "do_center_crop", False):
            height, width = self.encoder.image_size
            photos = [thinned(photo, (width, height), processor.resample) for photo in photos]
        return processor(photos, return_tensors="pt").pixel_values.to(self.device)

    @torch.inference_mode()
    def encode(self, images: Iterable[Any]) -> Tensor:
        """Image features (B, prefix + patches, image_width) of photos, once for all uses."""
        if self.is_features(images, 3):
            return images
        return self.encoder(self.pixel_values(images))

    def is_features(self, image: Any, dimensions: int = 2) -> bool:
        """Whether this is what `encode` gives, for one photo or, with 3 dimensions, for several;
        another tensor is a photo."""
        most, width = self.encoder.num_tokens, self.config.image_width
        if not isinstance(image, Tensor) or not image.is_floating_point():
            return False
        # of a part of the patches, in training, there are fewer
        return image.dim() == dimensions and image.shape[-1] == width and image.shape[-2] <= most

    def forward(
        self,
        tokens: Tensor,
        *,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
    ) -> Tensor:
        """Logits (images, captions, T, vocab_size) under teacher forcing, for training.

        tokens: (images, captions, T), each beginning with the start token. The images are given
        in one of the two forms.
        """
        if image_features is None:
            image_features = self.encoder(pixel_values)
        output = self.decoder(tokens.flatten(0, 1), self.decoder.look_at(image_features))
        return output.logits.unflatten(0, tokens.shape[:2])

    def options(self, **values: Any) -> DecodingOptions:
        """Decoding options: this checkpoint's own, changed as given."""
        longest = min(DecodingOptions.max_length, self.config.max_length - 1)
        chosen = {"max_length": longest, **self.config.decoding, **values}
        if "num_beams" not in values and not values.get("sample"):
            # asking for more captions than the usual beams widens the search
            usual = chosen.get("num_beams", DecodingOptions.num_beams)
            chosen["num_beams"] = max(usual, chosen.get("num_captions", 1))
        return DecodingOptions.create(**chosen)

    def caption(self, image: Any, *, prefix: str = "", **options: Any) -> Caption:
        """The best caption of one image. Options: see `DecodingOptions`.

        prefix: words that the caption begins with; the model writes the rest.
        """
        return self.captions([image], prefix=prefix, **options)[0][0]

    def captions(
        self,
        images: Iterable[Any] | Tensor,
        *,
        prefix: str = "",
        on_step: Callable[[], object] | None = None,
        **options: Any,
    ) -> list[list[Caption]]:
        """For each image of a batch its `num_captions` captions, best first.

        on_step: called after every token; what it raises ends the search.

        Raises ValueError, in one line, for wrong options, and for one image where several are due.
        """
        self.options(**options)
        images = images if self.is_features(images, 3) else _list_images(images)
        if not len(images):
            return []
        for results in self._generate(images, prefix, **options):  # noqa: B007 (the last is used)
            if on_step:
                on_step()
        if not all(results):
            raise CheckpointError("the model finds no caption: its numbers are not finite")
        return [[self._caption(h) for h in image] for image in results]

    def stream(self, image: Any, *, prefix: str = "", **options: Any) -> Iterator[Caption]:
        """The leading hypothesis after every step; the last is what `caption` returns.

        With beams a later hypothesis may revise the words of an earlier one.
        """
        for captions in self.stream_captions(image, prefix=prefix, **options):
            yield captions[0]

    def stream_captions(
        self, image: Any, *, prefix: str = "", **options: Any
    ) -> Iterator[list[Caption]]:
        """As `stream`, with the `num_captions` leading hypotheses after every step."""
        for results in self._generate([image], prefix, **options):
            yield [self._caption(hypothesis) for hypothesis in results[0]]

    def alternatives(
        self, image: Any, caption: Caption | str, count: int = 4
    ) -> list[list[Alternative]]:
        """For each word of a caption, or of any sentence, the likeliest other words at its
        place, best first.

        A runner-up is one of the `count` likeliest other tokens, followed by the likeliest
        pieces until the word is whole; its probability is the product over them.
        """
        return alternatives(self, self._features([image])[0], caption, count)

    def explain(
        self,
        image: Any,
        caption: Caption | str,
        *,
        methods: Sequence[str] = (DEFAULT_METHOD,),
        on_step: Callable[[], object] | None = None,
    ) -> Explanation:
        """Where each word of a caption, or of any sentence, looked, and how likely it is.

        methods: of `attention_maps.METHODS`; the explanation holds what these need. "rollout",
            "gradient-rollout" and "occlusion" need the photo, not its features, and "occlusion"
            takes seconds.
        on_step: called after every pass of the encoder; what it raises ends the work.

        Raises ValueError for a sentence without words or too long, or an unknown method.
        """
        return explain(self, image, caption, methods, on_step or (lambda: None))

    def _features(self, images: list[Any] | Tensor) -> Tensor:
        if isinstance(images, Tensor):
            return images
        are_features = [self.is_features(image) for image in images]
        if all(are_features):
            return torch.stack(images)
        if any(are_features):
            raise OptionError("photos and features of photos in one list; give two lists")
        return self.encode(images)

    def _generate(self, images: list[Any] | Tensor, prefix: str, **options: Any):
        chosen = self.options(**options)
        with torch.inference_mode():
            cache = self.decoder.look_at(self._features(images))
        begun, _ = self.tokenizer.encode(prefix)
        words = self.tokenizer
        return generate(self.decoder, cache, words.start, words.end, chosen, begun, words.alike)

    def _caption(self, hypothesis: Hypothesis) -> Caption:
        tokens, log_probabilities = hypothesis
        said = tokens[:-1] if tokens[-1] == self.tokenizer.end else tokens
        words = with_probabilities(self.tokenizer.words(said), log_probabilities)
        return Caption(
            text=" ".join(word.text for word in words),
            words=words,
            log_probability=sum(log_probabilities),
            tokens=tokens,
        )


def _list_images(images: Iterable[Any] | Tensor) -> list[Any]:
    """The images of a batch; raises ValueError for one image, of which iterating would make letters
    or rows of pixels."""
    is_one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image)
    is_one = is_one or hasattr(images, "read") or getattr(images, "ndim", 4) < 4
    if is_one or not isinstance(images, Iterable):
        raise OptionError(
            f"a list of images is due here, not {type(images).__name__}; give [image], or use "
            "caption for one image"
        )
    return list(images)


def default_device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _check_weights(captioner: Captioner, path: Path) -> None:
    """Raises CheckpointError unless a safetensors file holds what fits the captioner."""
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; a captioner's weights are kept as safetensors")
    expected = captioner.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
    problems = {
        "missing": [k for k in expected if k not in found],
        "unexpected": [k for k in found if k not in expected],
        "wrong shape": [
            f"{k} is {found[k]}, not {tuple(v.shape)}"
            for k, v in expected.items()
            if k in found and found[k] != tuple(v.shape)
        ],
    }
    check_fit(path, problems)


@torch.no_grad()
def _load_weights(captioner: Captioner, path: Path) -> None:
    """Read a safetensors file that fits into the captioner."""
    with safe_open(path, framework="pt") as file:
        for key, tensor in captioner.state_dict().items():
            tensor.copy_(file.get_tensor(key))
            if not tensor.isfinite().all():
                raise CheckpointError(f"{path}: {key} has numbers that are not finite")
