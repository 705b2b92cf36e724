"""What both tabs are made with: an image that our own reader opens, and errors that are told in a line."""

import html
from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData


def photo(**options: object) -> gr.Image:
    """Return an image that is handed on as the file that came: `images.open_image` opens it, within its bounds.

    Gradio itself would decode it before, whatever it is, and tell what is wrong in words of its own. (Not a class of
    our own: Gradio writes a file beside the module of each.)

    Args:
        options: those of Gradio's Image.
    """
    image = gr.Image(type="filepath", image_mode=None, **options)
    decode = image.preprocess

    def preprocess(payload: ImageData | None) -> str | None:
        is_frame = payload is not None and bool(payload.url) and payload.url.startswith("data:")  # of a webcam
        return decode(payload) if payload is None or is_frame else payload.path

    image.preprocess = preprocess
    return image


def warn(text: str) -> str:
    """Show a line that says what is wrong, and return it; it stays until it is read or ten seconds have passed."""
    gr.Warning(html.escape(text), title="Not done")
    return text


def key_of(request: gr.Request) -> str:
    """Return what tells one browser's page from another's."""
    return request.session_hash


def name_of(path: str | Path) -> str:
    """Return what to call a file that was sent: its folder is Gradio's, and tells nobody anything."""
    return Path(path).name
