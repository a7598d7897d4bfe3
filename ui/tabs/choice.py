"""Above the tabs, for all of them: which model writes, what it is asked, and what it may borrow
from."""

from typing import NamedTuple

import gradio as gr

from ui.serving.captioners import Captioners
from ui.serving.requests import request_handler
from ui.tabs.memory import (
    NONE,
    MemoryChoice,
    can_remember,
    connect_memory_choice,
    create_memory_choice,
    create_memory_menu,
)


class CaptionerChoice(NamedTuple):
    """The components with which a visitor chooses a captioner."""

    model: gr.Dropdown
    loaded: gr.Textbox  # the name of the model that the prompt is of, unseen
    prompt: gr.Textbox  # hidden for a model that takes none
    memory: MemoryChoice  # hidden for a model that has not learned to look at one

    @property
    def inputs(self) -> list[gr.Dropdown | gr.Textbox]:
        """What `Captioners.get` takes."""
        return [self.model, self.prompt]


def create_captioner_choice(captioners: Captioners, title: str = "") -> CaptionerChoice:
    """The model's name, and the prompt and the memory where it takes them, beside a title."""
    own_prompt = captioners.get().prompt
    with gr.Row(elem_id="top"):
        gr.Markdown(title)
        model = gr.Dropdown(
            captioners.names,
            value=captioners.names[0],
            label="Model",
            allow_custom_value=captioners.allows_hub,
            min_width=220,
        )
        loaded = gr.Textbox(captioners.names[0], visible=False)
        prompt = gr.Textbox(
            own_prompt or "",
            label="Prompt",
            placeholder="The model's own question",
            max_lines=1,
            min_width=320,
            visible=own_prompt is not None,
            elem_id="prompt",
        )
        menu = create_memory_menu(captioners)
    return CaptionerChoice(model, loaded, prompt, create_memory_choice(menu))


def connect_captioner_choice(choice: CaptionerChoice, captioners: Captioners) -> None:
    """Load a captioner when it is chosen, not when the photo is waiting; the name of one that
    cannot be had gives way to the one before. With another one comes its own prompt."""

    @request_handler(captioners, on_cores=False)
    def load_captioner(name: str | None, loaded: str, progress: gr.Progress = gr.Progress()):  # noqa: B008 (gradio's way)
        progress(0, desc=f"Loading {name}")
        captioner = captioners.get(name)
        prompt = {"visible": captioner.prompt is not None}
        memory = {"visible": can_remember(captioner)}
        if name != loaded:  # else it comes back, as after a reload, and what was written stays
            prompt["value"] = captioner.prompt or ""
            if not memory["visible"]:
                memory["value"] = NONE
        return [name, gr.update(**prompt), gr.update(**memory)]

    loading = choice.model.change(
        load_captioner,
        [choice.model, choice.loaded],
        [choice.loaded, choice.prompt, choice.memory.menu],
        api_visibility="private",
    )
    loading.failure(
        lambda loaded: loaded, [choice.loaded], [choice.model], api_visibility="private"
    )
    connect_memory_choice(choice.memory, captioners, choice.model)
