"""What a visitor is told when something cannot be done."""

import html

import gradio as gr


def complaint(message: object) -> gr.Error:
    """One line in a toast. It shows HTML, and names in it may be a visitor's own."""
    return gr.Error(html.escape(str(message), quote=False), print_exception=False)
