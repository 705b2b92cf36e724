"""Large JPEGs decoded at a fraction of their size: the same errors, nearly the same pixels, and features apart."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.models import EfficientNet_B0_Weights
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import transforms as v1
from torchvision.transforms._presets import ImageClassification

from going_modular import data_setup, features, model_builder, predict
from going_modular.common.errors import InputError
from going_modular.data import feature_store, images, resizing, sources, upright, views
from going_modular.evaluation import leaks
from going_modular.models.timm_weights import TimmTransform

SIDE = 32  # what the tests resize to
SIZE = (640, 480)  # 480 are more than four times twice that, and fewer than eight
PRESET = EfficientNet_B0_Weights.DEFAULT.transforms()
BICUBIC, NEAREST = InterpolationMode.BICUBIC, InterpolationMode.NEAREST


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Return a rendered scene, with its edges and textures, of 640x480 pixels."""
    path = sorted((sources.DATA_FOLDER / "sample").rglob("*.jpg"))[0]
    return images.open_image(path).resize(SIZE, Image.Resampling.LANCZOS)


def shrink(image, side: int = SIDE):
    return np.asarray(v2.functional.resize(image, [side, side], BICUBIC)).astype(float)


def is_refused(path, **options):
    try:
        images.open_image(path, **options)
    except InputError:
        return True
    return False


def fits_in(shorter, longer):
    """Tell whether a side is a half, a quarter or an eighth of another, to half a pixel."""
    return any(abs(longer / fraction - shorter) <= 0.5 for fraction in (2, 4, 8))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_large_jpeg_is_nearly_the_same_at_a_fraction(tmp_path, picture, mode, options):
    picture.convert(mode).save(path := tmp_path / "large.jpg", quality=90, **options)
    whole, scaled = images.open_image(path), images.open_image(path, short_side=SIDE)
    assert (whole.size, scaled.size, scaled.mode) == (SIZE, (160, 120), "RGB")
    assert 0 < np.abs(shrink(whole) - shrink(scaled)).mean() < 0.5


@pytest.mark.parametrize("size", [(641, 481), (643, 485), (547, 639), (1025, 513)])
def test_sides_that_the_fraction_does_not_divide_stretch_the_picture_little(tmp_path, picture, size):
    picture.resize(size).save(path := tmp_path / "large.jpg", quality=90)
    scaled = images.open_image(path, short_side=SIDE)
    assert fits_in(scaled.width, size[0])
    assert fits_in(scaled.height, size[1])
    assert np.abs(shrink(images.open_image(path)) - shrink(scaled)).mean() < 4


@pytest.mark.parametrize("short", [SIDE - 1, 2 * SIDE, 4 * SIDE - 1])
def test_up_to_twice_what_is_wanted_and_more_no_byte_changes(tmp_path, picture, short):
    picture.resize((3 * short, short)).save(path := tmp_path / "small.jpg")
    whole, same = images.open_image(path), images.open_image(path, short_side=SIDE)
    assert (whole.size, whole.tobytes()) == (same.size, same.tobytes())


def test_from_four_times_on_a_half_is_decoded(tmp_path, picture):
    picture.resize((600, 4 * SIDE)).save(path := tmp_path / "large.jpg")
    assert images.open_image(path, short_side=SIDE).size == (300, 2 * SIDE)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp", "a.gif"])
def test_other_formats_are_decoded_whole(tmp_path, picture, name):
    picture.save(path := tmp_path / name)
    assert images.open_image(path, short_side=SIDE).tobytes() == images.open_image(path).tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_put_upright_at_a_fraction(tmp_path, picture, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.resize((642, 481)).save(path := tmp_path / "turned.jpg", exif=exif, quality=90)
    whole, scaled = images.open_image(path), images.open_image(path, short_side=SIDE)
    assert scaled.size == ((160, 120) if orientation < 5 else (120, 160))
    assert np.abs(shrink(whole) - shrink(scaled)).mean() < 4


def test_a_phones_file_of_several_jpegs_is_decoded_at_a_fraction(tmp_path, picture):
    frames = [picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    frames[0].save(path := tmp_path / "phone.jpg", "MPO", save_all=True, append_images=frames[1:], quality=90)
    assert Image.open(path).format == "MPO"
    whole, scaled = images.open_image(path), images.open_image(path, short_side=SIDE)
    assert scaled.size == (160, 120)
    assert np.abs(shrink(whole) - shrink(scaled)).mean() < 0.5


@pytest.mark.parametrize("size", [(2000, 300), (300, 2000), (4000, 40)])
def test_of_a_panorama_the_short_side_counts(tmp_path, picture, size):
    picture.resize(size).save(path := tmp_path / "panorama.jpg")
    whole, scaled = images.open_image(path), images.open_image(path, short_side=SIDE)
    short, fraction = (75, 4) if min(size) == 300 else (40, 1)
    assert min(scaled.size) == short
    assert scaled.size == tuple(side // fraction for side in whole.size)
    assert max(scaled.size) <= upright.MAX_ASPECT_RATIO * min(scaled.size)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_truncated_files_are_refused_alike(tmp_path, picture, options):
    picture.save(path := tmp_path / "large.jpg", quality=80, **options)
    content = path.read_bytes()
    refused = []
    for cut in (1, 2, 3, 8, 50, 200, 1000, len(content) // 2, len(content) - 700):
        path.write_bytes(content[:-cut])
        answers = [is_refused(path), is_refused(path, short_side=SIDE), is_refused(path, short_side=1)]
        assert len(set(answers)) == 1, cut
        assert bool(images.find_unreadable([path])) == answers[0]
        refused.append(answers[0])
    assert any(refused)


def test_damaged_files_are_refused_alike(tmp_path, picture):
    picture.save(path := tmp_path / "large.jpg", quality=80)
    content, random = path.read_bytes(), np.random.default_rng(0)
    refused = []
    for _ in range(25):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[random.integers(2, len(damaged), 4)] = random.integers(0, 256, 4)
        damaged[random.integers(2, 600, random.integers(3))] = 0xFF
        path.write_bytes(damaged.tobytes())
        answers = [is_refused(path), is_refused(path, short_side=SIDE), is_refused(path, short_side=1)]
        assert len(set(answers)) == 1
        refused.append(answers[0])
    assert 0 < sum(refused) < len(refused)


def test_the_bound_on_pixels_holds_for_what_the_file_has(tmp_path, picture, monkeypatch):
    picture.save(path := tmp_path / "large.jpg")
    monkeypatch.setattr(images, "MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    with pytest.raises(InputError, match=r"too large \(640x480"):
        images.open_image(path, short_side=SIDE)


@pytest.mark.parametrize(
    ("transform", "side"),
    [
        (PRESET, 256),
        (ImageClassification(crop_size=224, resize_size=232), 232),
        (TimmTransform(crop_size=224, resize_size=(235,), mean=(0,), std=(1,), interpolation=BICUBIC), 235),
        (TimmTransform(crop_size=224, resize_size=(240, 240), mean=(0,), std=(1,), interpolation=BICUBIC), 240),
        (views.View(PRESET, mirrored=True), 256),
        (v1.Resize(64), 64),
        (v2.Resize((48, 96)), 96),
        (v2.Resize(64, max_size=100), 64),
        (v1.Compose([v1.Resize((224, 224)), v1.ToTensor()]), 224),
        (v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Resize([64]), v2.CenterCrop(200)]), 64),
        (v1.Compose([v1.Compose([v1.Resize(64)]), v1.ToTensor()]), 64),
        # the smallest crop has a tenth of the area, 3 to 4; and a quarter of it, 1 to 4
        (v2.RandomResizedCrop(100, scale=(0.1, 1)), 366),
        (v1.RandomResizedCrop((50, 100), scale=(0.25, 1), ratio=(1 / 4, 2)), 400),
        (data_setup.augment(PRESET), 438),
        # a size that nobody knows, or that holds for a part of the image
        (None, None),
        (lambda image: image, None),
        (v1.Compose([]), None),
        (v2.Compose([v2.ToImage(), v2.Normalize([0.5], [0.5])]), None),
        (v2.Compose([v2.CenterCrop(64), v2.Resize(32)]), None),
        (v2.Compose([v2.GaussianBlur(5), v2.Resize(32)]), None),
        (v2.RandomCrop(64), None),
        (v2.RandomResizedCrop(64, scale=(0, 1)), None),
        # single pixels, of which a fraction has others
        (v2.Resize(64, interpolation=NEAREST), None),
        (v2.Resize(64, antialias=False), None),
        (v2.RandomResizedCrop(64, interpolation=NEAREST), None),
        (ImageClassification(crop_size=224, interpolation=NEAREST), None),
    ],
)
def test_the_short_side_that_a_transform_asks_for(transform, side):
    assert resizing.short_side(transform) == side


def test_a_class_of_somebodys_own_is_not_taken_for_what_it_inherits():
    class Sharpest(v2.Resize):
        def forward(self, image):
            return image

    class Whole(ImageClassification):
        def forward(self, image):
            return image

    assert resizing.short_side(Sharpest(64)) is None
    assert resizing.short_side(Whole(crop_size=224)) is None


def test_the_smallest_random_crop_keeps_the_pixels_that_it_is_resized_to():
    crop = v2.RandomResizedCrop(100, scale=(0.1, 0.1), ratio=(3 / 4, 4 / 3))
    side = resizing.short_side(crop)
    parts = [crop.make_params([torch.empty(3, side, side)]) for _ in range(50)]
    assert min(min(part["height"], part["width"]) for part in parts) in range(100, 105)


@pytest.fixture
def folder(tmp_path, picture):
    """Return a folder of two classes, a large JPEG each."""
    for name, image in {"cat": picture, "dog": picture.transpose(Image.Transpose.ROTATE_180)}.items():
        (tmp_path / "pets" / name).mkdir(parents=True)
        image.save(tmp_path / "pets" / name / "large.jpg", quality=90)
    return tmp_path / "pets"


def resized(side):
    return v2.Compose([v2.Resize([side]), v2.PILToTensor()])


def test_a_data_set_decodes_what_its_transform_of_the_moment_needs(folder):
    dataset = data_setup.ImageFolder(folder, transform=resized(SIDE))
    path, label = dataset.samples[1]
    whole, scaled = images.open_image(path), images.open_image(path, short_side=SIDE)
    assert torch.equal(dataset[1][0], resized(SIDE)(scaled))
    assert not torch.equal(dataset[1][0], resized(SIDE)(whole))
    dataset.transform = resized(200)
    assert torch.equal(dataset[1][0], resized(200)(whole))
    dataset.transform = None
    assert dataset[1][0].tobytes() == whole.tobytes()
    dataset.target_transform = str
    assert dataset[1][1] == str(label)


def test_a_loader_of_the_learners_own_is_asked_as_before(folder):
    dataset = data_setup.ImageFolder(folder, transform=v2.Resize([SIDE]))
    dataset.loader = lambda path: images.open_image(path).convert("L")
    assert dataset[0][0].mode == "L"


@pytest.mark.parametrize("count", [1, 10])
def test_predict_sees_the_pixels_that_a_data_set_gives(folder, count):
    preset = ImageClassification(crop_size=32, resize_size=32)  # of the ten, eight need more
    seen_in = views.views_of(preset, count)
    dataset = data_setup.ImageFolder(folder)
    paths = [path for path, _ in dataset.samples]
    unlabelled = predict._Unlabelled(paths, seen_in)
    for index in range(len(unlabelled)):
        which, view = divmod(index, count)
        assert torch.equal(unlabelled[index][0], dataset.with_transform(seen_in[view])[which][0])
    whole = [seen_in[0](images.open_image(path)) for path in paths]
    assert not torch.equal(unlabelled[0][0], whole[0])


def test_features_of_scaled_images_are_kept_apart(folder, tmp_path):
    trunk = torch.nn.Flatten()

    def place(dataset):
        return feature_store.open_store(tmp_path, dataset, trunk, "fp32 cpu").folder

    for transform, is_scaled in ((resized(SIDE), True), (v2.PILToTensor(), False)):
        ours = data_setup.ImageFolder(folder, transform=transform)
        whole = datasets.ImageFolder(str(folder), transform=transform, loader=images.open_image)
        assert feature_store.image_files(ours) == ours.samples
        assert (place(ours) != place(whole)) == is_scaled


@pytest.mark.slow
def test_features_hardly_change(folder, tmp_path):
    torch.manual_seed(0)
    model, _ = model_builder.create_model("efficientnet_lite0", 2)
    small = ImageClassification(crop_size=96, resize_size=112)
    options = {"precision": "fp32", "num_workers": 0, "progress": False, "cache": tmp_path / "cache"}
    whole = datasets.ImageFolder(str(folder), transform=small, loader=images.open_image)
    before = features.extract(model, whole, **options).tensors[0]
    after = features.extract(model, data_setup.ImageFolder(folder, transform=small), **options).tensors[0]
    assert not torch.equal(before, after)
    assert torch.nn.functional.cosine_similarity(before, after).min() > 0.99


def test_the_search_for_leaks_looks_at_all_pixels(folder, tmp_path):
    path = folder / "cat" / "large.jpg"
    images.open_image(path).save(copy := tmp_path / "copy.png")
    assert [leak.kind for leak in leaks.find([path], [copy])] == [leaks.IDENTICAL]
