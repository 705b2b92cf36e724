"""The tab Try: an image in, a class out, with all probabilities and where the model looked."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from going_modular.classroom import look
from going_modular.classroom.classifier import Answer
from going_modular.classroom.parts import key_of, name_of, photo, warn
from going_modular.classroom.school import School
from going_modular.common.errors import InputError, listed

THRESHOLD = 0.5
AT_ONCE = 4  # images that are looked at, of all browsers


class TryTab:
    """Builds the tab, and answers what is done in it.

    Args:
        school: whose classifiers answer.
        examples: image files to try.
    """

    def __init__(self, school: School, examples: Sequence[Path]) -> None:
        self.school, self.examples = school, []
        for i, path in enumerate(examples):  # into a folder that Gradio may show files of, wherever the data lies
            (folder := school.folder / "examples" / str(i)).mkdir(parents=True, exist_ok=True)
            self.examples.append(shutil.copy(path, folder))

    def build(self) -> None:
        """Put the parts of the tab where it is called, and say what each of them does."""
        answer = gr.State(None)
        with gr.Row():
            with gr.Column():
                image = photo(label="Image", sources=["upload", "webcam", "clipboard"], height=320, elem_id="try-photo")
                threshold = gr.Slider(
                    0, 1, THRESHOLD, step=0.01, label="Not sure below this probability", elem_id="try-threshold"
                )
                ready = gr.Gallery(
                    self.examples, label="Examples", columns=6, object_fit="cover", allow_preview=False,
                    interactive=False, visible=bool(self.examples), elem_id="try-examples", buttons=[],
                )  # fmt: skip
            with gr.Column():
                shown = gr.HTML(look.answer(None, THRESHOLD), elem_id="try-answer")
                heat = gr.HTML(elem_id="try-heat")
        with gr.Accordion("Several images at once", open=False):
            several = gr.File(label="Images", file_count="multiple", elem_id="try-several", height=140)
            grid = gr.HTML(elem_id="try-grid")
        image.change(
            self.try_image, [image, threshold], [answer, shown, heat], api_name="try_image", concurrency_limit=AT_ONCE,
            show_progress="minimal",
        )  # fmt: skip
        ready.select(self.example, None, image, api_visibility="private", show_progress="hidden")
        threshold.change(self.again, [answer, threshold], shown, api_visibility="private", show_progress="hidden")
        several.upload(
            self.try_several, [several, threshold], [several, grid], api_visibility="private",
            concurrency_limit=AT_ONCE,
        )  # fmt: skip

    def try_image(
        self, path: str | None, threshold: float, request: gr.Request
    ) -> tuple[tuple[Answer, str] | None, str, str]:
        """Classify an image: the class, the probabilities of all classes, and a map of where the model looked."""
        if path is None:
            return None, look.answer(None, threshold), ""
        try:
            classifier = self.school.classifier(key_of(request))
            answers, problems = classifier.classify([Path(path)])
            if problems:
                raise InputError(problems[0].replace(path, name_of(path)))
        except InputError as error:
            return None, look.said(warn(str(error))), ""
        start = time.perf_counter()
        try:
            heat = look.heat(*classifier.look(Path(path)), 1000 * (time.perf_counter() - start))
        except InputError:  # there is no such map for every model
            heat = ""
        return (answers[0], classifier.said), look.answer(answers[0], threshold, classifier.said), heat

    def example(self, event: gr.SelectData) -> str:
        """Take an example for the image, as if it had been dropped there."""
        return str(self.examples[event.index])  # the path that a browser sends could be anything

    def again(self, answer: tuple[Answer, str] | None, threshold: float) -> str:
        """Show the last answer with another threshold."""
        found, by = answer or (None, "")
        return look.answer(found, threshold, by)

    def try_several(self, paths: list[str], threshold: float, request: gr.Request) -> tuple[None, str]:
        """Classify several images, shown as a grid; the place for files is free again."""
        try:
            answers, problems = self.school.classifier(key_of(request)).classify([Path(path) for path in paths])
        except InputError as error:
            return None, look.said(warn(str(error)))
        read = [path for index, path in enumerate(paths) if index not in problems]
        shown = [(look.small(path), look.caption(one, threshold)) for path, one in zip(read, answers, strict=True)]
        wrong = [problem.replace(paths[index], name_of(paths[index])) for index, problem in problems.items()]
        text = warn(f"{len(wrong)} not read: {listed(wrong)}") if wrong else f"{len(read)} images"
        return None, look.said(text) + look.grid(shown)
