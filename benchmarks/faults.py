"""Ways to spoil a photo, for `bench_inspect.py` to plant: copies, faults and shortcuts."""

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Change = Callable[[Image.Image], Image.Image]


def compressed(image: Image.Image, quality: int = 60) -> Image.Image:
    """Return the image after JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def crop(image: Image.Image, share: float) -> Image.Image:
    """Return the image without a share of its width and height on each side."""
    left, top = round(image.width * share), round(image.height * share)
    return image.crop((left, top, image.width - left, image.height - top))


def other_shot(image: Image.Image) -> Image.Image:
    """Return the image as from another hand a second later: turned by 4 degrees, nearer, brighter."""
    turned = image.rotate(4, Image.Resampling.BICUBIC)
    return compressed(ImageEnhance.Brightness(crop(turned, 0.08)).enhance(1.1), 85)


def screenshot(image: Image.Image) -> Image.Image:
    """Return a page of text with the image in it, small."""
    page = Image.new("RGB", (800, 600), (252, 252, 252))
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 800, 40), fill=image.resize((1, 1)).getpixel((0, 0)))
    for line in range(31):
        draw.text((20, 50 + 17 * line), "the recipe of the day, with flour and oil. " * 2, fill=(20, 20, 20))
    page.paste(image.resize((200, 150)), (580, 60))
    return page


IDENTICAL = "the same file"
COPIES: dict[str, Change | None] = {
    IDENTICAL: None,
    "JPEG, quality 60": compressed,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brightness x 1.3": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "brightness x 0.7": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "5% cropped a side": lambda image: crop(image, 0.05),
    "10% cropped a side": lambda image: crop(image, 0.10),
    "mirrored": ImageOps.mirror,
    "another shot": other_shot,
}
FAULTS: dict[str, Change] = {
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.15),
    "half dark": lambda image: ImageEnhance.Brightness(image).enhance(0.25),
    "bright": lambda image: Image.blend(image, Image.new("RGB", image.size, "white"), 0.8),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 40)),
    "half blurred": lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 80)),
    "tiny": lambda image: image.resize((48, 48)),
    "no detail": lambda image: Image.blend(image, Image.new("RGB", image.size, "grey"), 0.97),
    "screenshot": screenshot,
}


def framed(image: Image.Image) -> Image.Image:
    """Return the image in a black border of 2% of its width, as a scanner leaves it."""
    return ImageOps.expand(crop(image, 0.02), round(0.02 * image.width), "black")


def warmer(image: Image.Image) -> Image.Image:
    """Return the image as under a warmer lamp."""
    red, green, blue = image.split()
    return Image.merge("RGB", (red.point(lambda v: min(v * 1.3, 255)), green, blue.point(lambda v: v * 0.8)))


SHORTCUTS: dict[str, tuple[Change, str, int]] = {  # change, ending and quality of files
    "black border, 2% a side": (framed, "jpg", 90),
    "warmer light": (warmer, "jpg", 90),
    "as PNG": (lambda image: image, "png", 90),
    "JPEG of quality 60": (lambda image: image, "jpg", 60),
}
