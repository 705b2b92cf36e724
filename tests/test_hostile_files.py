"""Files from strangers: zips, images and caches that are odd, huge or malformed, and what is done with them."""

import multiprocessing
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tracemalloc
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from commands import HANGS, LITE0, refusal, write_classes, write_image
from filelock import FileLock
from PIL import Image

from going_modular import data_setup
from going_modular.common import errors, files, progress
from going_modular.common.errors import InputError
from going_modular.data import download, feature_store, grey, images, sources, tiles, upright, zips
from going_modular.data.feature_store import FeatureStore
from going_modular.evaluation import leaks

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
needs_posix = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX owners and permissions")
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")


def pack(path, *members, method=zipfile.ZIP_DEFLATED):
    """Write a zip of (name, content) pairs."""
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def refused(archive, match):
    """Check that a zip is refused in a short line, with nothing written beside it; return the line."""
    beside = sorted(archive.parent.iterdir())
    with pytest.raises(InputError, match=match) as caught:
        zips.unpack(archive, archive.parent / "photos")
    assert sorted(archive.parent.iterdir()) == beside
    assert len(str(caught.value)) < 1000
    return str(caught.value)


# lines that stay short


def test_of_many_texts_in_a_line_the_first_are_shown():
    assert errors.listed([]) == ""
    assert errors.listed(["a", "b"]) == "a; b"
    assert errors.listed([str(i) for i in range(190_007)], ", ") == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 189,997 more"
    long = "x" * 5000 + "end"
    assert errors.listed([long]) == errors.shortened(long)
    assert len(errors.shortened(long)) <= 300
    assert errors.shortened(long).endswith("xend")
    assert errors.shortened("y" * 300) == "y" * 300


def test_many_unreadable_images_make_one_short_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(40):
            (tmp_path / "pets" / label / f"{i}.jpg").write_bytes(b"")
    message = refusal(capsys, "train.py", "--data", "pets", *LITE0)
    assert "80 unreadable: Cannot open image" in message
    assert "and 70 more" in message
    assert len(message) < 2000
    with pytest.raises(InputError, match=r"80 unreadable: .* and 70 more"):
        images.check_readable(Path("pets").rglob("*.jpg"))


def test_many_classes_that_a_model_does_not_know_make_one_short_line(tmp_path):
    dataset = data_setup.ImageFolder(write_classes(tmp_path, "pets", tuple(f"c{i:03}" for i in range(60)), images=1))
    with pytest.raises(InputError) as caught:
        dataset.relabel([f"d{i}" for i in range(5000)])
    assert "and 50 more" in str(caught.value)
    assert "and 4,990 more" in str(caught.value)
    assert len(str(caught.value)) < 1000


# zips


def test_folders_in_folders_are_counted_before_anything_is_written(tmp_path):
    deep = pack(tmp_path / "deep.zip", ("/".join(f"d{i}" for i in range(5000)) + "/a.jpg", b""))
    assert "lies in 5000 folders" in refused(deep, "deep.zip")
    pack(tmp_path / "good.zip", ("/".join("abc") * 10 + "/a.jpg", b"content"))
    assert len(list(zips.unpack(tmp_path / "good.zip", tmp_path / "good").rglob("a.jpg"))) == 1


def test_folders_that_are_only_implied_take_room_too(tmp_path):
    paths = ["/".join([str(i), *"abcdefghijklmnopqrstuvwxyzabc"]) + "/x.jpg" for i in range(1000)]
    archive = pack(tmp_path / "implied.zip", *((path, b"") for path in paths))
    assert "1000 files in 30000 folders, 122880000 bytes on disk" in refused(archive, "exceed 100000000 bytes")


def test_the_number_of_files_and_folders_is_limited(tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.zip", ("a/b/c/d.jpg", b""), ("a/b/e.jpg", b""))
    monkeypatch.setattr(zips, "MAX_MEMBERS", 4)
    refused(archive, "exceed 4")
    monkeypatch.setattr(zips, "MAX_MEMBERS", 5)
    zips.unpack(archive, tmp_path / "photos")


def test_a_list_of_members_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    archive = pack(tmp_path / "a.zip", *((f"{i}.jpg", b"") for i in range(1000)))
    monkeypatch.setattr(zips, "MAX_DIRECTORY_BYTES", 20_000)
    refused(archive, "list of members exceeds 20000 bytes")


def overlapping(path, members):
    """Write a zip of which every member is the same packed bytes, as bombs have it."""
    name = b"a"
    packed = zipfile.zlib.compressobj(9, zipfile.zlib.DEFLATED, -15)
    content = packed.compress(bytes(10**5)) + packed.flush()
    about = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, zipfile.zlib.crc32(bytes(10**5)), len(content), 10**5)
    local = b"PK\3\4" + about + struct.pack("<HH", len(name), 0) + name + content
    entries = b"".join(
        b"PK\1\2" + struct.pack("<H", 20) + about + struct.pack("<HHHHHII", 1, 0, 0, 0, 0, 0, 0) + bytes([97 + i])
        for i in range(members)
    )
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, members, members, len(entries), len(local), 0)
    path.write_bytes(local + entries + end)
    return path


def test_members_that_lie_upon_one_another_are_refused(tmp_path):
    alone = zips.unpack(overlapping(tmp_path / "alone.zip", 1), tmp_path / "alone")
    assert (alone / "a").read_bytes() == bytes(10**5)
    refused(overlapping(tmp_path / "bomb.zip", 2), "'a' and 'b' lie upon one another")


@pytest.mark.parametrize("declared", [3, 10**6])
def test_a_size_that_lies_unpacks_to_no_more_than_it_says(tmp_path, declared):
    content = os.urandom(1000)
    archive = pack(tmp_path / "liar.zip", ("a.jpg", content), method=zipfile.ZIP_DEFLATED)
    data = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        data[data.index(signature) + offset :][:4] = struct.pack("<I", declared)
        place = data.index(signature) + offset
        data[place : place + 4] = struct.pack("<I", declared)
    archive.write_bytes(data)
    try:
        folder = zips.unpack(archive, tmp_path / "photos")
    except InputError:
        assert list(tmp_path.iterdir()) == [archive]
    else:
        assert (folder / "a.jpg").read_bytes() == content


@pytest.mark.parametrize("names", [("a.jpg", "a.jpg"), ("a", "a/b.jpg"), ("a/b.jpg", "a"), ("a.jpg", "./a.jpg")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path, names):
    refused(pack(tmp_path / "twice.zip", *((name, b"") for name in names)), "rename one")


CAFE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}"


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/1.jpg", "A/2.jpg"), ("a.jpg", "a.JPG"), (f"{CAFE}/1.jpg", f"{unicodedata.normalize('NFD', CAFE)}/2.jpg")],
)
def test_names_that_a_system_takes_for_one_are_refused_there(tmp_path, monkeypatch, one, other):
    archive = pack(tmp_path / "names.zip", (one, b""), (other, b""))
    monkeypatch.setattr(zips, "_ONE_NAME", True)  # as on Windows and macOS
    refused(archive, "are one name on this system; rename one")
    monkeypatch.setattr(zips, "_ONE_NAME", False)
    assert sum(path.is_file() for path in zips.unpack(archive, tmp_path / "photos").rglob("*")) == 2


@pytest.mark.parametrize(
    "name", ["CON", "a/nul.jpg", "COM1.tar.gz", "lpt9/a.jpg", "a./b.jpg", "b.jpg ", "a.jpg:stream"]
)
def test_names_that_windows_cannot_have_are_refused_there(tmp_path, monkeypatch, name):
    archive = pack(tmp_path / "names.zip", (name, b""))
    with monkeypatch.context() as patch:
        patch.setattr(zips, "_WINDOWS", True)
        refused(archive, "cannot be used here; rename it")
    zips.unpack(archive, tmp_path / "photos")


@pytest.mark.parametrize("name", [".. /x.jpg", "a/... /b/x.jpg", ".. ./x.jpg", "a/ /x.jpg"])
def test_names_that_windows_takes_for_the_folder_above_are_refused_everywhere(tmp_path, name):
    refused(pack(tmp_path / "names.zip", (name, b"")), "cannot be used here; rename it")


@pytest.mark.parametrize("name", ["CONcert.jpg", "a..b.jpg", "null.jpg", "COM10.jpg", "console/a.jpg"])
def test_usual_names_are_not_taken_for_devices(tmp_path, monkeypatch, name):
    monkeypatch.setattr(zips, "_WINDOWS", True)
    assert zips.unpack(pack(tmp_path / "names.zip", (name, b"")), tmp_path / "photos").is_dir()


def test_a_zip_that_is_refused_is_not_kept_but_one_that_was_there_is(tmp_path):
    datasets = download.cache_folder() / "datasets"
    bad = pack(tmp_path / "bad.zip", ("train/a/notes.txt", b""), ("test/a/notes.txt", b""))
    with pytest.raises(InputError, match="no images"):
        data_setup.load_splits(bad)
    assert list(datasets.iterdir()) == []
    good = Path(shutil.make_archive(str(tmp_path / "good"), "zip", write_classes(tmp_path, "pets")))
    data_setup.load_splits(good)
    [kept] = datasets.iterdir()
    with pytest.raises(InputError, match="group"):
        data_setup.load_splits(good, group_by="no group")
    assert list(datasets.iterdir()) == [kept]
    with sources.found(good) as (folder, name, _):
        assert (folder, name) == (kept, "good")


# what is no regular file


@needs_pipes
def test_pipes_and_sockets_among_images_are_told_and_nothing_waits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path, "pets")
    os.mkfifo(tmp_path / "pets/cat/pipe.jpg")
    assert feature_store.hash_files(["pets/cat/pipe.jpg", "/dev/zero", "pets", "missing"]) == [None] * 4
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("pets/dog/socket.png")  # a short path: sockets have no room for long ones
    message = refusal(capsys, "train.py", "--data", "pets", *LITE0)
    assert message.count("it is a device or pipe") == 2
    for path in ("pets/cat/pipe.jpg", "/dev/zero"):
        assert "it is a device or pipe" in images.find_problem(path)
    with pytest.raises(InputError, match="device or pipe"):
        leaks.find(["pets/cat/pipe.jpg"], ["pets/cat/0.png"])


@needs_pipes
@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("train.py", ("--data", "pipe")),
        ("train.py", ("--data", "pets", *LITE0, "--weights", "pipe")),
        ("predict.py", ("pets", "--checkpoint", "pipe")),
        ("evaluate.py", ("--data", "pets", "--checkpoint", "pipe")),
        ("fine_tune.py", ("--data", "pipe", *LITE0)),
    ],
)
def test_a_pipe_in_place_of_a_file_is_refused_in_a_line(tmp_path, monkeypatch, capsys, script, arguments):
    monkeypatch.chdir(tmp_path)
    write_classes(tmp_path, "pets")
    os.mkfifo("pipe")
    assert "'pipe'" in refusal(capsys, script, *arguments)


@needs_pipes
def test_what_is_opened_is_looked_at_again(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    real = Path.stat
    # the file is replaced after the first look
    monkeypatch.setattr(Path, "stat", lambda path, **options: real(tmp_path / "file", **options))
    with pytest.raises(InputError, match="device or pipe"):
        files.open_regular(tmp_path / "pipe")
    with files.open_regular(tmp_path / "file") as file:
        assert file.read() == b"x"


def test_an_absurdly_large_file_is_no_image(tmp_path):
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(images.MAX_FILE_BYTES + 1)
    assert "too large (2.0 GB; the limit is 2)" in images.find_problem(path)
    assert feature_store.hash_files([path]) == [None]


# features on disk

WIDTH = 5
KEYS = [bytes([i]) * feature_store.HASH_BYTES for i in range(3)]
VALUES = torch.arange(3.0 * WIDTH).reshape(3, WIDTH)


@pytest.fixture
def store(tmp_path):
    """A store with features of three images, in one shard."""
    made = FeatureStore(tmp_path / "store")
    made.write(KEYS, VALUES)
    return made


def shard_of(store):
    [shard] = store.folder.iterdir()
    return shard


def read(store):
    """Return which features are in a store, and check that they are the right ones."""
    found = torch.full((3, WIDTH), -1.0)
    is_filled = store.read(KEYS, found)
    assert torch.equal(found[is_filled], VALUES[is_filled])
    return is_filled.tolist()


def test_a_store_gives_what_it_was_given(store):
    assert read(store) == [True] * 3
    [shard] = store.folder.iterdir()
    shard.rename(shard.with_name("copied.safetensors"))
    assert read(FeatureStore(store.folder)) == [True] * 3


@pytest.mark.parametrize("change", ["a value", "rows exchanged", "keys exchanged", "checksum"])
def test_a_shard_that_was_changed_is_not_used(store, change):
    shard = shard_of(store)
    tensors = safetensors.torch.load_file(shard)
    with safetensors.safe_open(shard, framework="pt") as file:
        metadata = file.metadata()
    if change == "a value":
        tensors["features"][1, 2] += 1
    elif change == "rows exchanged":
        tensors["features"] = tensors["features"].flip(0).contiguous()
    elif change == "keys exchanged":
        tensors["hashes"] = tensors["hashes"].flip(0).contiguous()
    else:
        metadata = {name: value[::-1] for name, value in metadata.items()}
    safetensors.torch.save_file(tensors, shard, metadata=metadata)
    with pytest.warns(UserWarning, match="1 damaged file of cached features .* is computed again"):
        assert read(store) == [False] * 3
    assert list(store.folder.iterdir()) == []
    store.write(KEYS, VALUES)
    assert read(store) == [True] * 3


def test_a_shard_of_an_earlier_version_is_computed_again_without_a_word(store):
    shard = shard_of(store)
    safetensors.torch.save_file(safetensors.torch.load_file(shard), shard)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(store) == [False] * 3
    assert not shard.exists()


HASHES = torch.from_numpy(np.frombuffer(b"".join(KEYS), np.uint8).reshape(3, -1).copy())
MALFORMED = {
    "empty": {},
    "hashes alone": {"hashes": HASHES},
    "features alone": {"features": VALUES},
    "no rows": {"hashes": torch.tensor(3, dtype=torch.uint8), "features": VALUES},
    "flat hashes": {"hashes": HASHES.reshape(-1), "features": VALUES},
    "short hashes": {"hashes": HASHES[:, :5], "features": VALUES},
    "float hashes": {"hashes": HASHES.float(), "features": VALUES},
    "bfloat16 hashes": {"hashes": HASHES.bfloat16(), "features": VALUES},
    "fewer features": {"hashes": HASHES, "features": VALUES[:1]},
    "a scalar": {"hashes": HASHES, "features": torch.tensor(1.0)},
    "wider features": {"hashes": HASHES, "features": torch.zeros(3, WIDTH + 1)},
    "integers": {"hashes": HASHES, "features": VALUES.int()},
    "doubles": {"hashes": HASHES, "features": VALUES.double()},
    "cubes": {"hashes": HASHES, "features": VALUES[..., None]},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_shard_is_told_once_and_removed(store, name):
    tensors = {key: value.contiguous() for key, value in MALFORMED[name].items()}
    shard_of(store).write_bytes(safetensors.torch.save(tensors, metadata={feature_store.CHECKSUM: "0" * 64}))
    with pytest.warns(UserWarning, match="1 damaged file of cached features") as told:
        assert read(store) == [False] * 3
    assert len(told) == 1
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 100, struct.pack("<Q", 2**40), struct.pack("<Q", 2) + b"[]"])
def test_what_is_no_shard_is_told_once_and_removed(store, content):
    shard_of(store).write_bytes(content)
    with pytest.warns(UserWarning, match="1 damaged file of cached features"):
        assert read(store) == [False] * 3
    assert list(store.folder.iterdir()) == []


@needs_pipes
def test_a_pipe_or_a_link_among_the_shards_is_removed_and_what_it_leads_to_stays(store, tmp_path):
    shard = shard_of(store)
    shard.rename(tmp_path / "mine.safetensors")
    os.mkfifo(shard)
    shard.with_name("link.safetensors").symlink_to(tmp_path / "mine.safetensors")
    with pytest.warns(UserWarning, match="2 damaged files of cached features"):
        assert read(store) == [False] * 3
    assert list(store.folder.iterdir()) == []
    assert (tmp_path / "mine.safetensors").exists()


@needs_pipes
def test_fingerprints_are_read_as_carefully(tmp_path):
    paths = [write_image(tmp_path, f"{i}.png", seed=i) for i in range(2)]
    before = leaks.find(paths, paths)
    [shard] = (download.cache_folder() / "fingerprints").rglob("*.safetensors")
    shard.unlink()
    os.mkfifo(shard)
    with pytest.warns(UserWarning, match="1 damaged file of cached features"):
        assert leaks.find(paths, paths) == before
    assert stat.S_ISREG(shard.stat().st_mode)


@needs_posix
def test_a_new_cache_is_for_its_owner_only(tmp_path):
    old = os.umask(0)
    try:
        FeatureStore(tmp_path / "a/b/c").write(KEYS, VALUES)
    finally:
        os.umask(old)
    for folder in ("a", "a/b", "a/b/c"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700


@needs_posix
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_store_that_others_can_write_to_is_not_used(store, mode):
    store.folder.chmod(mode)
    with pytest.warns(UserWarning, match=r"Cached features are not used: others can write to .*chmod go-w"):
        shared = FeatureStore(store.folder)
    assert read(shared) == [False] * 3
    shard_of(store).unlink()
    shared.write(KEYS, VALUES)
    assert list(store.folder.iterdir()) == []


@needs_posix
def test_who_else_can_write_to_a_folder(tmp_path):
    mine = tmp_path / "open" / "mine"
    files.make_private(mine)
    open_to_all = tmp_path / "open"
    assert files.why_not_private(mine) is None
    assert files.why_not_private(mine / "not there yet") is None
    open_to_all.chmod(0o777)  # others could rename what is mine
    assert "others can write to" in files.why_not_private(mine)
    assert "others can write to" in files.why_not_private(open_to_all / "not there yet")
    open_to_all.chmod(0o1777)  # as /tmp
    assert files.why_not_private(mine) is None
    (tmp_path / "link").symlink_to(mine)
    assert files.why_not_private(tmp_path / "link") is None
    if os.geteuid() == 0:
        os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
        assert "another user's link" in files.why_not_private(tmp_path / "link")
        os.chown(mine, 12345, 12345)
        assert "belongs to another user" in files.why_not_private(mine)


@needs_posix
def test_a_cache_folder_that_others_can_write_to_is_replaced_for_the_run(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(shared))
    archive = Path(shutil.make_archive(str(tmp_path / "pets"), "zip", write_classes(tmp_path, "pets")))
    with pytest.warns(UserWarning, match="The cache folder is not used, since others can write to") as told:
        folder, *_ = sources.find(archive)
    assert len(told) == 1
    assert (folder / "cat").is_dir()
    assert list(shared.iterdir()) == []


# large images


def test_conversion_in_tiles_gives_the_same_pixels(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    rgba = Image.fromarray(noise)
    deep = noise[..., 0].astype(np.int32) * 257 - 1000
    rgba.save(tmp_path / "rgba.png")
    rgba.convert("LA").save(tmp_path / "la.png")
    rgba.convert("P").save(tmp_path / "p.png", transparency=3)
    rgba.convert("RGB").save(tmp_path / "colour.png", transparency=tuple(noise[0, 0, :3].tolist()))
    Image.fromarray(deep).save(tmp_path / "i.tif")
    Image.fromarray(deep.astype(np.float32) / 1e5).save(tmp_path / "f.tif", tiffinfo={262: 0})
    Image.fromarray((deep + 1000).astype(np.uint16)).save(tmp_path / "i16.png")
    paths = sorted(tmp_path.iterdir())
    whole = [images.open_image(path).tobytes() for path in paths]
    prints = leaks.fingerprints(paths)
    for pixels in (1, 10, 23, 100):
        monkeypatch.setattr(tiles, "TILE_PIXELS", pixels)
        assert [images.open_image(path).tobytes() for path in paths] == whole
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(tiles, "TILE_PIXELS", 100)
    assert leaks.fingerprints(paths).digests == prints.digests


def test_tiles_cover_an_image_and_are_small(monkeypatch):
    image = Image.fromarray(np.arange(7 * 11, dtype=np.uint8).reshape(7, 11))
    for pixels in (1, 4, 11, 30, 77):
        monkeypatch.setattr(tiles, "TILE_PIXELS", pixels)
        pasted, parts = Image.new("L", image.size), list(tiles.tiles(image))
        for corner, tile in parts:
            pasted.paste(tile, corner)
        assert pasted.tobytes() == image.tobytes()
        assert sum(tile.width * tile.height for _, tile in parts) == 77
        assert max(tile.width * tile.height for _, tile in parts) <= pixels


def test_greys_are_scaled_in_little_memory():
    image = Image.new("F", (3000, 2000), 0.5)
    tracemalloc.start()  # which NumPy's memory is counted by
    try:
        assert grey.to_eight_bits(image).getextrema() == (128, 128)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * tiles.TILE_PIXELS * 4  # some arrays of a tile


PEAK = """
import sys
from PIL import Image
from going_modular.data import images
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
Image.init()
before = peak()
image = images.open_image(sys.argv[1])
print((peak() - before) / (int(sys.argv[2]) * int(sys.argv[3])))
"""


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RGBA.png", "RGB.png", "I;16.png", "F.tif", "CMYK.jpg"])
def test_decoding_takes_as_much_memory_as_is_said(tmp_path, kind):
    mode, extension = kind.split(".")
    side = 9000  # 81 megapixels
    options = {"png": {"compress_level": 1}, "tif": {"compression": "tiff_deflate"}, "jpg": {"progressive": True}}
    Image.new(mode, (side, side)).save(path := tmp_path / f"large.{extension}", **options[extension])
    command = [sys.executable, "-c", PEAK, path, str(side), str(side)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANGS)
    bytes_a_pixel = float(done.stdout)
    assert 3 < bytes_a_pixel < (12.5 if extension == "jpg" else 9.5)  # a progressive JPEG is decoded whole


@pytest.mark.parametrize(("extension", "mode", "limit"), [("webp", "RGB", 119), ("jp2", "RGB", 110), ("jp2", "L", 179)])
def test_formats_that_take_more_memory_have_lower_limits(tmp_path, extension, mode, limit):
    Image.new(mode, (8, 8)).save(path := tmp_path / f"a.{extension}")
    with Image.open(path) as image:
        image._size = (13_000, limit * 1_000_000 // 13_000 + 100)
        with pytest.raises(InputError, match=f"the limit is {limit}"):
            images._check_size(image)
        image._size = (13_000, limit * 1_000_000 // 13_000 - 100)
        images._check_size(image)


def decode_in_turn(path, inside, worst):
    """Open an image some times; note how many processes were about it at the most."""
    images.IN_TURN_PIXELS = 0
    convert = upright._to_rgb

    def watched(image):
        with inside.get_lock():
            inside.value += 1
            worst.value = max(worst.value, inside.value)
        converted = [convert(image) for _ in range(20)]
        with inside.get_lock():
            inside.value -= 1
        return converted[0]

    upright._to_rgb = watched
    for _ in range(15):
        images.open_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_large_images_are_decoded_by_one_process_at_a_time(tmp_path, method):
    path = write_image(tmp_path, "a.png", size=(300, 300))
    context = multiprocessing.get_context(method)
    inside, worst = context.Value("i", 0), context.Value("i", 0)
    processes = [context.Process(target=decode_in_turn, args=(path, inside, worst)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HANGS)
    assert [process.exitcode for process in processes] == [0] * 3
    assert worst.value == 1


def test_small_images_do_not_wait_and_a_suspended_process_stops_nobody(tmp_path, monkeypatch):
    path = write_image(tmp_path, "a.png")
    files.make_private(download.cache_folder())
    with FileLock(download.cache_folder() / "large_image.lock"):
        images.open_image(path)
        monkeypatch.setattr(images, "IN_TURN_PIXELS", 0)
        monkeypatch.setattr(images, "IN_TURN_SECONDS", 0.01)
        images.open_image(path)


def test_large_images_are_read_where_there_is_no_cache_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GOING_MODULAR_CACHE", str(tmp_path / "file/cache"))
    monkeypatch.setattr(images, "IN_TURN_PIXELS", 0)
    assert images.open_image(write_image(tmp_path, "a.png")).size == (80, 64)


START = """
import multiprocessing, sys
from going_modular import data_setup, features
from going_modular.common.progress import bar
from going_modular.data import images
from going_modular.evaluation import leaks
images.find_unreadable([sys.argv[1]])
leaks.find([sys.argv[1]], [sys.argv[1]])
list(bar(range(2)))
multiprocessing.set_start_method("spawn")
"""


@pytest.mark.slow
def test_reading_images_does_not_settle_how_processes_start(tmp_path):
    command = [sys.executable, "-c", START, write_image(tmp_path, "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS)
    assert done.returncode == 0, done.stderr


def test_bars_of_threads_are_locked():
    progress.bar(disable=True)
    with progress.tqdm.get_lock():
        assert list(progress.bar(range(2), disable=True)) == [0, 1]
