import subprocess
import sys
import zipfile

import pytest

from going_modular.common.errors import InputError
from going_modular.data import zips


def pack(path, *members, method=zipfile.ZIP_DEFLATED):
    """Write a zip of (name or ZipInfo, content) pairs."""
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def link(name):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, 0o120777 << 16
    return member


def test_unpack_brings_what_is_visible_and_only_once(tmp_path):
    hidden = [(name, b"") for name in ("__MACOSX/train/a.jpg", "train/._a.jpg", ".git/config", ".DS_Store")]
    visible = [("train/披萨/a.jpg", b"a"), ("train\\sushi\\b.jpg", b"b"), ("./test/c..d.jpg", b"c"), ("empty/", b"")]
    archive = pack(tmp_path / "photos.zip", *hidden, *visible)
    folder = zips.unpack(archive, tmp_path / "new" / "photos")
    found = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.name == "empty"
    }
    assert found == {"train/披萨/a.jpg", "train/sushi/b.jpg", "test/c..d.jpg", "empty"}
    archive.unlink()
    assert zips.unpack(archive, folder) == folder  # it is complete
    assert [path.name for path in folder.parent.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    "member", ["../x", "a/../../x", "/x", "C:/x", "c:x", "..\\x", "\\x", "\\\\host\\share\\x", link("x")]
)
def test_unpack_refuses_members_that_leave_the_folder(tmp_path, member):
    archive = pack(tmp_path / "evil.zip", ("good.jpg", b""), (member, b"/etc/passwd"))
    with pytest.raises(InputError, match="leaves the folder"):
        zips.unpack(archive, tmp_path / "photos")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.zip"]


def damage(archive, change):
    archive.write_bytes(change(bytearray(archive.read_bytes())))


def set_encrypted(data):
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + flags] |= 1
    return data


def flip_a_byte(data):
    data[60] ^= 255
    return data


@pytest.mark.parametrize(
    "change", [lambda data: data[:500], lambda data: b"text", lambda data: b"", set_encrypted, flip_a_byte]
)
def test_unpack_refuses_what_is_no_sound_zip(tmp_path, change):
    archive = pack(tmp_path / "bad.zip", ("a.bin", bytes(range(250)) * 4), method=zipfile.ZIP_STORED)
    damage(archive, change)
    with pytest.raises(InputError, match=r"Cannot unpack .*bad\.zip") as caught:
        zips.unpack(archive, tmp_path / "photos")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.zip"]


@pytest.mark.parametrize("limit", ["MAX_MEMBERS", "MAX_UNPACKED_BYTES", "SMALL_BYTES"])
def test_unpack_refuses_absurd_expansion(tmp_path, monkeypatch, limit):
    archive = pack(tmp_path / "bomb.zip", ("a", bytes(10**6)), ("b", b""))
    monkeypatch.setattr(zips, limit, 1)
    with pytest.raises(InputError, match="exceed"):
        zips.unpack(archive, tmp_path / "photos")
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.zip"]
    monkeypatch.undo()
    assert len(list(zips.unpack(archive, tmp_path / "photos").iterdir())) == 2


def test_unpack_killed_halfway_leaves_no_folder_and_a_rival_may_be_faster(tmp_path, monkeypatch):
    archive = pack(tmp_path / "photos.zip", ("a", b"ours"), ("b", b""))
    code = (
        "import os, shutil, signal, sys; from going_modular.data import zips\n"
        "shutil.copyfileobj = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "zips.unpack(sys.argv[1], sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "photos")]
    assert subprocess.run(command, timeout=60, capture_output=True).returncode != 0
    assert not (tmp_path / "photos").exists()
    extract = zips._extract

    def lose_the_race(*arguments):
        extract(*arguments)
        pack(tmp_path / "other.zip", ("a", b"theirs"))
        extract(tmp_path / "other.zip", tmp_path / "photos")

    monkeypatch.setattr(zips, "_extract", lose_the_race)
    assert (zips.unpack(archive, tmp_path / "photos") / "a").read_bytes() == b"theirs"
