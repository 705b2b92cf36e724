"""The tab Teach: classes by name, images from a webcam, files or a zip, a head, and what it gets wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import gradio as gr

from going_modular.classroom import look
from going_modular.classroom.parts import key_of, name_of, photo, warn
from going_modular.classroom.room import Classroom
from going_modular.classroom.school import School
from going_modular.common.errors import InputError

SHOWN = 48  # thumbnails, the newest
FRAME_SECONDS, BURST_SECONDS = 0.25, 20
BROWSERS = 40  # that may record at once
PRIVATE = {"api_visibility": "private"}
ON_BURSTS = (
    "Frames of one burst look alike. Where a held-out image has a twin among those that were learned from, the "
    "accuracy flatters: move, turn, and take a second burst elsewhere."
)


class TeachTab:
    """Builds the tab, and answers what is done in it.

    Args:
        school: whose classrooms are filled.
        ready: images by class, to begin with at a press of a button.
        ready_name: what they are called.
    """

    def __init__(self, school: School, ready: Mapping[str, Sequence[Path]], ready_name: str) -> None:
        self.school, self.ready, self.ready_name = school, ready, ready_name

    def build(self) -> None:
        """Put the parts of the tab where it is called, and say what each of them does."""
        self.picked = gr.State(None)
        with gr.Row():
            with gr.Column(scale=2):
                self._lay_out_classes()
                self._lay_out_images()
                self._lay_out_training()
            with gr.Column(scale=3):
                self.heading = gr.Markdown("### No images yet")
                self.gallery = gr.Gallery(
                    label="Images of this class", columns=6, height=300, allow_preview=False, interactive=False,
                    object_fit="cover", visible=False, elem_id="teach-gallery", buttons=[],
                )  # fmt: skip
                self.remove = gr.Button("Remove the picked image", size="sm", visible=False, elem_id="teach-remove")
                self.result = gr.HTML(elem_id="teach-result")
        self._connect()

    def _lay_out_classes(self) -> None:
        gr.Markdown("### 1 Classes")
        with gr.Row(equal_height=True):
            self.name = gr.Textbox(label="New class", max_length=200, scale=3, elem_id="teach-name")
            self.add = gr.Button("Add class", scale=1, min_width=110, elem_id="teach-add")
        self.chosen = gr.Radio([], label="Class to fill", elem_id="teach-class")
        with gr.Row():
            self.filler = gr.Button(f"Fill with {self.ready_name}", size="sm", visible=bool(self.ready))
            self.drop = gr.Button("Remove this class", size="sm")

    def _lay_out_images(self) -> None:
        gr.Markdown("### 2 Images")
        with gr.Tabs():
            with gr.Tab("Files"):
                self.files = gr.File(label="Images or zips", file_count="multiple", height=150, elem_id="teach-files")
                self.folder = gr.UploadButton("Choose a folder", file_count="directory", size="sm")
            with gr.Tab("Webcam"):
                self.camera = photo(
                    label="Webcam: record for a burst of images", sources=["webcam"], streaming=True, height=300,
                    elem_id="teach-camera",
                )  # fmt: skip

    def _lay_out_training(self) -> None:
        gr.Markdown("### 3 Train")
        self.start = gr.Button("Train", variant="primary", elem_id="teach-train")
        self.status = gr.HTML(look.said("Add two classes or more, and a few images to each."), elem_id="said")
        gr.Markdown("### 4 Take home")
        with gr.Row():
            self.keep = gr.Button("Save the checkpoint", size="sm", min_width=120, elem_id="teach-save")
            self.packer = gr.Button("Zip of the images", size="sm", min_width=120, elem_id="teach-zip")
        self.saved = gr.File(label="Files", interactive=False, visible=False, elem_id="teach-saved")

    def _connect(self) -> None:
        """Say what each part does."""
        everything = [self.chosen, self.heading, self.gallery, self.remove, self.picked, self.status]
        for trigger in (self.add.click, self.name.submit):
            trigger(self.add_class, [self.name, self.chosen], [self.name, *everything], **PRIVATE)
        self.chosen.input(self.show, self.chosen, everything, **PRIVATE)
        self.filler.click(self.fill, self.chosen, everything, **PRIVATE)
        self.drop.click(self.remove_class, self.chosen, everything, **PRIVATE)
        for part in (self.files, self.folder):
            part.upload(self.add_files, [part, self.chosen], [part, *everything], **PRIVATE)
        self.camera.stream(
            self.add_frame, [self.camera, self.chosen], [self.chosen, self.heading, self.status],
            stream_every=FRAME_SECONDS, time_limit=BURST_SECONDS, concurrency_limit=BROWSERS, show_progress="hidden",
            **PRIVATE,
        ).then(self.show, self.chosen, everything, show_progress="hidden", **PRIVATE)  # fmt: skip
        self.gallery.select(self.pick, None, [self.picked, self.status], show_progress="hidden", **PRIVATE)
        self.remove.click(self.remove_image, [self.chosen, self.picked], everything, **PRIVATE)
        self.start.click(self.train, None, [self.result, self.status], **PRIVATE)
        self.keep.click(self.save, None, [self.saved, self.status], **PRIVATE)
        self.packer.click(self.pack, None, [self.saved, self.status], **PRIVATE)

    def add_class(self, text: str, chosen: str | None, request: gr.Request) -> tuple:
        """Add a class, and choose it; what was typed stays where it cannot be a class."""
        room, added = self._room(request), []
        shown = self._do(room, chosen, lambda: added.append(room.add_class(text)) or f"{added[0]!r} added")
        return "" if added else text, *(self._shown(room, added[0], f"{added[0]!r} added") if added else shown)

    def show(self, chosen: str | None, request: gr.Request) -> tuple:
        """Show a class, or that there is none yet."""
        room = self._room(request)
        return self._do(room, chosen, lambda: f"{len(room.pictures(chosen))} images in {chosen!r}")

    def fill(self, chosen: str | None, request: gr.Request) -> tuple:
        """Add the images that the app brings, to classes of their own."""
        room = self._room(request)

        def act() -> str:
            count = 0
            for name, paths in self.ready.items():
                if name not in room.classes:
                    room.add_class(name)
                count += sum(room.add(name, paths).counts.values())
            return f"{count} images added to {len(self.ready)} classes"

        return self._do(room, chosen, act)

    def remove_class(self, chosen: str | None, request: gr.Request) -> tuple:
        """Remove a class with its images."""
        room = self._room(request)
        return self._do(room, chosen, lambda: room.remove_class(chosen) or f"{chosen!r} removed")

    def add_files(self, paths: list[str] | None, chosen: str | None, request: gr.Request) -> tuple:
        """Add files that were dropped or chosen."""
        room = self._room(request)

        def act() -> str:
            added = room.add(chosen, paths or [])
            return warn(added.sentence()) if added.problems else added.sentence()

        return None, *self._do(room, chosen, act)

    def add_frame(self, path: str | None, chosen: str | None, request: gr.Request) -> tuple:
        """Add a frame of the webcam; the thumbnails follow when the burst ends."""
        room = self._room(request)
        said = "Choose a class first, then record"
        if path is not None and chosen in room.classes:
            added = room.add(chosen, [path], from_burst=True)
            problem = added.problems[0].replace(repr(name_of(path)), "This frame") if added.problems else ""
            said = problem or f"{len(room.pictures(chosen))} images in {chosen!r}"
        radio, heading, *_ = self._shown(room, chosen, said)
        return radio, heading, look.said(said)

    def pick(self, event: gr.SelectData) -> tuple[int, str]:
        """Remember which thumbnail was picked."""
        return event.index, look.said(f"Image {event.index + 1} is picked: it can be removed")

    def remove_image(self, chosen: str | None, picked: int | None, request: gr.Request) -> tuple:
        """Remove the image whose thumbnail was picked."""
        room = self._room(request)

        def act() -> str:
            pictures = room.pictures(chosen)
            if picked is None:
                raise InputError("Pick the image to remove first, by a click or the Enter key")
            room.remove(chosen, len(pictures) - 1 - picked)  # the newest stands first
            return "1 image removed"

        return self._do(room, chosen, act)

    def train(self, request: gr.Request) -> Iterator[tuple]:
        """Train a head on all classes, and show what it does with images that it has not seen."""
        yield gr.skip(), look.said("Training: what is left of the features, then the head")
        room = self._room(request)
        try:
            lesson = room.train()
        except InputError as error:
            yield gr.skip(), look.said(warn(str(error)))
            return
        seconds = lesson.clock.seconds["head"]
        said = f"Trained in {seconds:.1f} s: the tab Try uses it now." + (f" {ON_BURSTS}" if room.has_bursts else "")
        yield look.result(lesson), look.said(said)

    def save(self, request: gr.Request) -> tuple:
        """Write the run, and offer its checkpoint and images for download."""
        try:
            checkpoint, images = self._room(request).save()
        except InputError as error:
            return gr.skip(), look.said(warn(str(error)))
        said = (
            f"Saved in {checkpoint.parent}; go on with: python going_modular/predict.py IMAGE --checkpoint {checkpoint}"
        )
        return gr.File([str(checkpoint), str(images)], visible=True), look.said(said)

    def pack(self, request: gr.Request) -> tuple:
        """Offer all images as class folders for download."""
        try:
            archive = self._room(request).pack()
        except InputError as error:
            return gr.skip(), look.said(warn(str(error)))
        return gr.File([str(archive)], visible=True), look.said("All images, a folder a class")

    def _room(self, request: gr.Request) -> Classroom:
        return self.school.classroom(key_of(request))

    def _do(self, room: Classroom, chosen: str | None, act: Callable[[], str]) -> tuple:
        """Do something to a classroom, tell what came of it, and show it as it is now."""
        try:
            said = act()
        except InputError as error:
            said = warn(str(error))
        return self._shown(room, chosen, said)

    def _shown(self, room: Classroom, chosen: str | None, said: str) -> tuple:
        """Return what the parts that show a classroom are to show; a class that is gone makes place for the last."""
        names = list(room.classes)
        if chosen not in names:
            chosen = names[-1] if names else None
        pictures = room.pictures(chosen) if chosen else []
        newest = [(str(picture.thumbnail), "") for picture in reversed(pictures[-SHOWN:])]
        total = sum(map(len, room.classes.values()))
        more = f", the newest {SHOWN} shown" if len(pictures) > SHOWN else ""
        heading = f"### {chosen}: {len(pictures)} of {total} images{more}" if chosen else "### No images yet"
        radio = gr.Radio([(f"{name} ({len(room.classes[name])})", name) for name in names], value=chosen)
        gallery = gr.Gallery(newest, selected_index=None, visible=bool(newest))
        return radio, heading, gallery, gr.Button(visible=bool(newest)), None, look.said(said)
