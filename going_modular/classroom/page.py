"""The app's page, and how it is served: on this computer, without a word to any other."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

# before Gradio is imported: it counts starts, looks for newer versions and asks a hub otherwise
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from going_modular.classroom import limits, look
from going_modular.classroom.parts import key_of
from going_modular.classroom.school import School
from going_modular.classroom.teach_tab import TeachTab
from going_modular.classroom.try_tab import TryTab
from going_modular.common.errors import InputError

TITLE = "Teach and try"
FONTS = (["system-ui", "sans-serif"], ["ui-monospace", "monospace"])
CLEAN_EVERY, CLEAN_AFTER = 600, 24 * 3600  # seconds: Gradio's own copies of what was sent


def build(
    school: School, examples: Sequence[Path], ready: Mapping[str, Sequence[Path]], ready_name: str, *, title: str
) -> gr.Blocks:
    """Return the page.

    Args:
        school: whose classrooms are filled and whose classifiers answer; without a backbone there is no tab Teach.
        examples: image files to try.
        ready: images by class, to teach with at once.
        ready_name: what they are called.
        title: of the page.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(school.folder / "gradio")  # it goes with the app
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(CLEAN_EVERY, CLEAN_AFTER)) as page:
        gr.Markdown(f"# {title}")
        tabs = {"Try": TryTab(school, examples)}
        if school.backbone is not None:
            tabs["Teach"] = TeachTab(school, ready, ready_name)
        # the first is open, and without a model there is nothing to try yet
        order = sorted(tabs, reverse=school.loaded is not None)
        with gr.Tabs():
            for name in order:
                with gr.Tab(name):
                    tabs[name].build()

        def leave(request: gr.Request) -> None:
            school.leave(key_of(request))

        page.unload(leave)
    return page


def serve(page: gr.Blocks, *, server_name: str | None, port: int | None, share: bool) -> str:
    """Serve the page from threads of their own, and return its address.

    Args:
        page: as `build` returns it.
        server_name: the address to listen on; None for what GRADIO_SERVER_NAME says, as a Space wants it, or loopback.
        port: to listen on; None for what GRADIO_SERVER_PORT says, or the first free one.
        share: make a public address, through servers of Gradio's makers.

    Raises:
        InputError: it cannot be served there, or no public address can be had.
    """
    try:
        _, local, public = page.launch(
            prevent_thread_lock=True, quiet=True, show_error=True, share=share, server_name=server_name,
            server_port=port, theme=_theme(), css=look.CSS, footer_links=[],
            max_file_size=limits.MOST_ZIP_BYTES, ssr_mode=False,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"The app cannot listen at port {port} ({error}); name another --port") from error
    if share and not public:
        raise InputError("No public address can be had; go online, or leave out --share")
    return public or local


def _theme() -> gr.themes.Base:
    """Return a theme with the system's own fonts, whose colours leave enough contrast."""
    theme = gr.themes.Default(primary_hue="blue", font=FONTS[0], font_mono=FONTS[1])
    dark = {"button_primary_background_fill": "*primary_600", "button_primary_background_fill_hover": "*primary_700"}
    return theme.set(**dark, **{f"{name}_dark": value for name, value in dark.items()})


def wait() -> None:
    """Wait until Ctrl-C or SIGTERM."""
    threading.Event().wait()
