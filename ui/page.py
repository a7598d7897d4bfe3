"""The page: what is above the tabs, the tabs, and how photos go from one to the other."""

import gradio as gr

from ui import lens
from ui.actions import one_line
from ui.endpoints import add_endpoints
from ui.lesson import tab as lesson_tab
from ui.serving import request_checks
from ui.serving.captioners import Captioners
from ui.tabs import caption as caption_tab
from ui.tabs import compare as compare_tab
from ui.tabs import explain as explain_tab
from ui.tabs import many as many_tab
from ui.uploads import addresses

FOLDER = lens.FOLDER.parent
CSS = "\n".join(path.read_text() for path in sorted(FOLDER.rglob("*.css")))
TITLE = "# CaptionLens\nA caption, and where each word looked."


def theme() -> gr.Theme:
    """Quiet, with local fonts, and greys that can be read (4.5:1) in light and dark."""
    return gr.themes.Default(
        primary_hue="orange",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        color_accent="#b3470b",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="#b3470b",
        button_primary_background_fill_hover="#933a09",
        button_primary_background_fill_dark="#ff9d5c",
        button_primary_background_fill_hover_dark="#ffb380",
        button_primary_text_color="white",
        button_primary_text_color_dark="#16181d",
    )


def build(captioners: Captioners) -> gr.Blocks:
    """The page, yet to be launched with `theme()` and `CSS`."""
    addresses.install()
    request_checks.install()
    with request_checks.Page(title="CaptionLens", delete_cache=(3600, 3600)) as page:
        with gr.Row(elem_id="top"):
            gr.Markdown(TITLE)
            model = gr.Dropdown(
                captioners.names,
                value=captioners.names[0],
                label="Model",
                allow_custom_value=True,
                min_width=220,
            )
        with gr.Tabs():
            with gr.Tab("Caption"):
                photo, shown = caption_tab.build(captioners, model)
            with gr.Tab("Explain my sentence") as explain_page:
                explained, sentence = explain_tab.build(captioners, model)
            with gr.Tab("Many photos"):
                many_tab.build(captioners, model)
            if captioners.has_choice:
                with gr.Tab("Compare models") as compare_page:
                    compared = compare_tab.build(captioners, model)
            with gr.Tab("How cross-attention works") as lesson_page:
                taught = lesson_tab.build(captioners, model)

        def load(name: str | None, progress: gr.Progress = gr.Progress()):  # noqa: B008 (gradio's way)
            """Load a captioner when it is chosen, not when the photo is waiting."""
            progress(0, desc=f"Loading {name}")
            with one_line():
                captioners.get(name)
            return name

        loaded = gr.State(captioners.names[0])
        model.input(load, [model], [loaded], api_visibility="private").failure(
            lambda before: before, [loaded], [model], api_visibility="private"
        )
        # A photo is brought along to a tab that has none. In the browser: on its way through
        # Python a tab's own photo would be encoded again, and count as a new one.
        explain_page.select(
            None,
            [explained, photo, sentence, shown],
            [explained, sentence],
            js="""(mine, own, text, value) => mine || value?.state !== "done"
              ? [mine ?? own, text]
              : [own, value.words.map((word) => word.text).join(" ")]""",
            api_visibility="private",
        )
        brought = [(lesson_page, taught)]
        if captioners.has_choice:
            brought.append((compare_page, compared))
        for tab, its_photo in brought:
            tab.select(
                None,
                [its_photo, photo],
                [its_photo],
                js="(mine, own) => mine ?? own",
                api_visibility="private",
            )
        add_endpoints(captioners)
    return page
