"""The captioner as people use it: captions, their maps, and what could have been written."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model.checkpoint.hub import SHIPPED, SHIPPED_NAME, find_checkpoint_folder, resolve_model_name
from model.checkpoint.native import is_captioner, read_network, write_checkpoint
from model.errors import CheckpointError, OptionError
from model.explain.alternatives import Alternative, find_alternatives
from model.explain.explanation import Explanation, explain
from model.explain.familiarity import Familiarity
from model.explain.methods import DEFAULT_METHOD
from model.images import ImageSource
from model.memory import Memory
from model.network.config import FORMAT, CaptionerConfig
from model.network.encoder_families import create_encoder, load_encoder
from model.network.image_processor import load_image_processor
from model.network.memory_encoder import stack_contexts
from model.network.network import EncodedPhoto, Network
from model.network.tokenizer import CaptionTokenizer
from model.search.caption import Caption
from model.search.generation import choose_options, stream_captions, write_captions
from model.search.options import DecodingOptions

# A photo, or what `Captioner.encode` made of one
Photo = ImageSource | EncodedPhoto


class Captioner:
    """Writes captions of photos and shows where each of their words looked.

    Wherever an image is due, so is what `encode` made of it: then it is not encoded again. Where
    images are due, any number of them will do: a list, a generator, a tensor of photos
    (B, 3, height, width).

    Where a `memory` is given, the words may look at captions of similar photos that it remembers;
    see `Memory`. What `encode` made of a photo and a memory keeps them together, and is explained
    or captioned with that memory unless another is given.

    Attributes:
        network: encoder, decoder, tokenizer and image processor.
        name: the checkpoint's, as `load` was given it.
        family: whose format the checkpoint has; only our own can be saved.
        familiarity: tells a photo unlike the training photos, where the checkpoint can: None in
            one whose encoder has been changed since.
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str = "untitled",
        family: str = FORMAT,
        familiarity: Familiarity | None = None,
    ):
        self.network = network
        self.name, self.family, self.familiarity = name, family, familiarity

    @classmethod
    def from_encoder(
        cls,
        encoder_name: str,
        tokenizer: CaptionTokenizer,
        image_size: tuple[int, int] = (224, 224),
        **settings: Any,
    ) -> "Captioner":
        """A pretrained image encoder with a new decoder that has yet to learn.

        encoder_name: a folder or hub id, as transformers knows them, or the folder of a captioner
            of ours, whose encoder is taken.
        Photos are squashed to `image_size`, never cropped: a map must cover the whole photo.
        settings: of `CaptionerConfig`.
        """
        if is_captioner(Path(encoder_name)):
            earlier = read_network(Path(encoder_name))
            encoder_config, processor = earlier.config.encoder, earlier.image_processor
            encoder = create_encoder(encoder_config, image_size)
            encoder.load_state_dict(earlier.encoder.state_dict())
        else:
            encoder, encoder_config = load_encoder(encoder_name, image_size)
            processor = load_image_processor(encoder_name)
        processor.size = {"height": image_size[0], "width": image_size[1]}
        processor.do_resize, processor.do_center_crop = True, False
        config = CaptionerConfig(
            encoder=encoder_config,
            image_size=image_size,
            vocab_size=tokenizer.vocab_size,
            **settings,
        )
        return cls(Network(config, tokenizer, processor, encoder).eval())

    @classmethod
    def from_pretrained(cls, name: str | Path = SHIPPED) -> "Captioner":
        """A captioner of our own format, in a folder or a repository of the hub; see `load` for
        those of other formats.

        Raises CheckpointError, in one line, for what is not a captioner or does not fit.
        """
        name = resolve_model_name(name)
        folder = find_checkpoint_folder(name)
        network = read_network(folder)
        return cls(
            network,
            name=SHIPPED_NAME if folder == SHIPPED else str(name),
            familiarity=Familiarity.load(folder, network.config.image_width),
        )

    def save_pretrained(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
        """Write `config.json`, weights, `tokenizer.json` and `preprocessor_config.json`, and
        `familiarity.safetensors` if there is a familiarity."""
        if self.family != FORMAT:
            raise CheckpointError(f"{self.name}: a {self.family} captioner; only ours are saved")
        write_checkpoint(self.network, self.familiarity, Path(folder), dtype)

    @property
    def device(self) -> torch.device:
        return self.network.device

    def to(self, device: str | torch.device) -> "Captioner":
        """Move the network to a device; returns this captioner."""
        self.network.to(device)
        return self

    @property
    def prompt(self) -> str | None:
        """What the captioner is asked; None for one that takes no prompt."""
        return self.network.prompt

    def with_prompt(self, prompt: str) -> "Captioner":
        """This captioner, asked something else: "Describe the colours." It shares the weights.

        What one `encode` made is good for all. Special tokens in a prompt are text.

        Raises OptionError, in one line, where the captioner takes no prompt, or not this one.
        """
        return Captioner(
            self.network.with_prompt(prompt),
            name=self.name,
            family=self.family,
            familiarity=self.familiarity,
        )

    def encode(self, images: Iterable[Photo], memory: Memory | None = None) -> list[EncodedPhoto]:
        """Photos as the network sees them, once for all uses, with what `memory` has for them."""
        listed = _list_images(images)
        photos = [image for image in listed if not isinstance(image, EncodedPhoto)]
        encoded = iter(self.network.encode_photos(photos) if photos else ())
        result = [i if isinstance(i, EncodedPhoto) else next(encoded) for i in listed]
        if memory is None:
            return result
        memory.check_captioner(self.network, self.name)
        return memory.recall(self.network, result)

    def options(self, **values: Any) -> DecodingOptions:
        """Decoding options: this checkpoint's own, changed as given."""
        return choose_options(self.network.config, **values)

    def caption(
        self, image: Photo, *, prefix: str = "", memory: Memory | None = None, **options: Any
    ) -> Caption:
        """The best caption of one image. Options: see `DecodingOptions`.

        prefix: words that the caption begins with; the model writes the rest.
        """
        return self.captions([image], prefix=prefix, memory=memory, **options)[0][0]

    def captions(
        self,
        images: Iterable[Photo],
        *,
        prefix: str = "",
        memory: Memory | None = None,
        on_step: Callable[[], object] | None = None,
        **options: Any,
    ) -> list[list[Caption]]:
        """For each image of a batch its `num_captions` captions, best first.

        on_step: called after every token; what it raises ends the search.

        Raises OptionError, in one line, for wrong options, and for one image where several are due.
        """
        decoding = self.options(**options)
        encoded = self.encode(images, memory)
        if not encoded:
            return []
        features, visible = stack_contexts([photo.context for photo in encoded])
        captions = write_captions(self.network, features, decoding, prefix, on_step, visible)
        return [_add_remembered(*both) for both in zip(captions, encoded, strict=True)]

    def stream(
        self, image: Photo, *, prefix: str = "", memory: Memory | None = None, **options: Any
    ) -> Iterator[Caption]:
        """The leading hypothesis after every step; the last is what `caption` returns.

        With beams a later hypothesis may revise the words of an earlier one.
        """
        for captions in self.stream_captions(image, prefix=prefix, memory=memory, **options):
            yield captions[0]

    def stream_captions(
        self, image: Photo, *, prefix: str = "", memory: Memory | None = None, **options: Any
    ) -> Iterator[list[Caption]]:
        """As `stream`, with the `num_captions` leading hypotheses after every step."""
        decoding = self.options(**options)
        photo = self.encode([image], memory)[0]
        for captions in stream_captions(self.network, photo.context[None], decoding, prefix):
            yield _add_remembered(captions[0], photo)

    def alternatives(
        self, image: Photo, caption: Caption | str, *, memory: Memory | None = None
    ) -> list[list[Alternative]]:
        """For each word of a caption, or of any sentence, the likeliest other words at its
        place, best first; see `find_alternatives`."""
        return find_alternatives(self.network, self.encode([image], memory)[0], caption)

    def explain(
        self,
        image: Photo,
        caption: Caption | str,
        *,
        methods: Sequence[str] = (DEFAULT_METHOD,),
        memory: Memory | None = None,
        on_step: Callable[[], object] | None = None,
    ) -> Explanation:
        """Where each word of a caption, or of any sentence, looked, and how likely it is.

        methods: of `methods.METHODS`; the explanation holds what these need. "occlusion" takes
            seconds.
        on_step: called after every pass of the encoder; what it raises ends the work.

        Raises OptionError for a sentence without words or too long, or an unknown method.
        """
        photo = self.encode([image], memory)[0]
        return explain(self.network, photo, caption, methods, on_step or (lambda: None))


def _add_remembered(captions: list[Caption], photo: EncodedPhoto) -> list[Caption]:
    """A photo's captions with what they could look at beside it."""
    if not photo.remembered:
        return captions
    return [replace(caption, remembered=photo.remembered) for caption in captions]


def _list_images(images: Iterable[Photo]) -> list[Photo]:
    """The images of a batch; raises OptionError for one image, of which iterating would make
    letters or rows of pixels."""
    if isinstance(images, Tensor):
        is_one = images.ndim < 4
    elif isinstance(images, np.ndarray):  # which may also hold paths
        is_one = images.ndim < 4 and images.dtype.kind in "buifc"
    else:
        is_one = hasattr(images, "read") or isinstance(
            images, str | bytes | bytearray | memoryview | os.PathLike | Image.Image | EncodedPhoto
        )
    if is_one or not isinstance(images, Iterable | Tensor):
        raise OptionError(
            f"a list of images is due here, not {type(images).__name__}; give [image], or use "
            "caption for one image"
        )
    return list(images)


def choose_device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
