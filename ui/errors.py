"""What a visitor is told when something cannot be done."""

import html

import gradio as gr


def complaint(message: object) -> gr.Error:
    """One line in a toast. It shows HTML, and names in it may be a visitor's own."""
    text = str(message).encode(errors="replace").decode()  # half a character cannot be sent
    return gr.Error(html.escape(text, quote=False), print_exception=False)
