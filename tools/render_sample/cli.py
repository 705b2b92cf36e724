"""Commands: render pictures, collect the manifest, draw the contact sheet, check a picture.

Run from the repository's root, in the environment that README.md beside this file describes:

    python -m tools.render_sample render --out data/sample --shard 0/2
    python -m tools.render_sample manifest data/sample
    python -m tools.render_sample sheet data/sample
    python -m tools.render_sample check data/sample/test/pizza/pizza_1075.jpg
"""

import argparse
import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tools.render_sample import photo, render
from tools.render_sample.scene import CLASSES

FIRST_SEED, FIRST_TEST_SEED, END_SEED = 1000, 1075, 1100
COLUMNS = ["file", "class", "seed", "sub_type", "table", "tableware", "props", "light", "side", "accent", "neighbour",
           "view", "framing", "attempt"]  # fmt: skip
TOLERANCE = 5.0  # mean absolute difference, in 8-bit steps: other random light paths altogether make 2.1 to 4.5
SHEET_COLUMNS, THUMBNAIL = 20, 64


def picture_path(folder: Path, label: str, seed: int) -> Path:
    """Return where the picture of a class and seed lies."""
    split = "test" if seed >= FIRST_TEST_SEED else "train"
    return folder / split / label / f"{label}_{seed}.jpg"


def describe(picture: render.Picture) -> dict[str, str | int]:
    """Return the facts that a picture carries in its JPEG comment and the manifest lists."""
    scene = picture.scene
    return {
        "seed": scene.seed, "sub_type": picture.sub_type, "table": scene.table, "tableware": scene.tableware,
        "props": " ".join(picture.props), "light": scene.light, "side": scene.side, "accent": scene.accent,
        "neighbour": scene.neighbour, "view": scene.view, "framing": scene.framing, "attempt": picture.attempt,
    }  # fmt: skip


def read_facts(path: Path) -> dict[str, str | int]:
    """Return the facts that a picture carries."""
    with Image.open(path) as image:
        return json.loads(image.info["comment"])


def render_all(args: argparse.Namespace) -> None:
    """Render every picture of the shard that is not there yet."""
    index, count = (int(part) for part in args.shard.split("/"))
    jobs = [(label, seed) for seed in range(args.first, args.end) for label in args.classes]
    for label, seed in jobs[index::count]:
        path = picture_path(args.out, label, seed)
        if path.exists():
            continue
        options = {"size": args.size, "samples": args.samples}
        if args.without_food:
            accepted = read_facts(picture_path(args.without_food, label, seed))["attempt"]
            options |= {"first_attempt": accepted, "with_food": False}
        picture = render.render_picture(label, seed, **options)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo.to_jpeg(picture.pixels, picture.quality, json.dumps(describe(picture))))
        print(path, picture.sub_type, flush=True)


def write_manifest(args: argparse.Namespace) -> None:
    """Collect what the pictures carry into manifest.csv."""
    files = sorted(args.folder.glob("*/*/*.jpg"))
    with (args.folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for path in files:
            name = path.relative_to(args.folder).as_posix()
            writer.writerow({"file": name, "class": path.parent.name, **read_facts(path)})
    print(f"{len(files)} pictures, {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")


def draw_sheet(args: argparse.Namespace) -> None:
    """Draw all pictures, small, on contact_sheet.jpg: a band for each class, in the order of the seeds."""
    rows = [sorted(args.folder.glob(f"*/{label}/*.jpg"), key=lambda path: path.name) for label in CLASSES]
    cells = [path for band in rows for path in band + [None] * (-len(band) % SHEET_COLUMNS)]
    sheet = Image.new("RGB", (SHEET_COLUMNS * THUMBNAIL, len(cells) // SHEET_COLUMNS * THUMBNAIL), "white")
    for number, path in enumerate(cells):
        if path:
            thumbnail = Image.open(path).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
            sheet.paste(thumbnail, (number % SHEET_COLUMNS * THUMBNAIL, number // SHEET_COLUMNS * THUMBNAIL))
    sheet.save(args.folder / "contact_sheet.jpg", quality=82)


def check_picture(args: argparse.Namespace) -> None:
    """Render a picture again and compare it with the file; exit with 1 if they differ too much."""
    label, seed = args.file.stem.rsplit("_", 1)
    picture = render.render_picture(label, int(seed))
    again = photo.to_jpeg(picture.pixels, picture.quality, json.dumps(describe(picture)))
    if again == args.file.read_bytes():
        print(f"{args.file}: the same bytes")
        return
    kept, made = (np.asarray(Image.open(source).convert("RGB"), float) for source in (args.file, io.BytesIO(again)))
    difference = np.abs(kept - made).mean()
    print(f"{args.file}: mean absolute difference {difference:.2f} of 255 (tolerance {TOLERANCE})")
    sys.exit(difference > TOLERANCE)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.render_sample", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("render", help=render_all.__doc__, allow_abbrev=False)
    command.add_argument("--out", type=Path, default=Path("data/sample"), help="folder for the pictures (data/sample)")
    command.add_argument("--classes", nargs="+", choices=CLASSES, default=CLASSES, help="classes to render (all)")
    command.add_argument("--first", type=int, default=FIRST_SEED, help=f"first seed ({FIRST_SEED})")
    command.add_argument("--end", type=int, default=END_SEED, help=f"seed after the last ({END_SEED})")
    command.add_argument("--shard", default="0/1", help="this process's share of the work, such as 0/2 (0/1)")
    command.add_argument("--size", type=int, default=render.SIZE, help=f"width and height in pixels ({render.SIZE})")
    command.add_argument(
        "--samples", type=int, default=render.SAMPLES, help=f"light paths per pixel ({render.SAMPLES})"
    )
    command.add_argument("--without-food", type=Path, metavar="SAMPLE", help="leave out the food of the pictures there")
    command.set_defaults(run=render_all)
    for name, run in (("manifest", write_manifest), ("sheet", draw_sheet)):
        command = commands.add_parser(name, help=run.__doc__)
        command.add_argument("folder", type=Path, help="folder of the pictures")
        command.set_defaults(run=run)
    command = commands.add_parser("check", help=check_picture.__doc__)
    command.add_argument("file", type=Path, help="a picture of the sample")
    command.set_defaults(run=check_picture)
    return parser


def main() -> None:
    """Run the command that the user names."""
    args = _parser().parse_args()
    args.run(args)
