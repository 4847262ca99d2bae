"""Which paths of a RUN's text lie below the function's root."""

import time
from pathlib import Path

import pytest

from backend.engine.images.image_paths import ImagePaths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mkdir /sandbox", "mkdir R/sandbox"),
        ("echo a > /data/x.txt 2>/dev/null", "echo a > R/data/x.txt 2>/dev/null"),
        ("--home=/home/user", "--home=R/home/user"),
        ("/a/bin:/b/bin:/usr/bin", "R/a/bin:R/b/bin:/usr/bin"),
        ("rm -rf /var/lib/apt/lists/*", "rm -rf R/var/lib/apt/lists/*"),
        ("curl https://example.org/a/b", "curl https://example.org/a/b"),
        ("pip install file:///sandbox/a.whl", "pip install file://R/sandbox/a.whl"),
        ("sed -i 's/a/b/' x; sed '/foo/d' y", "sed -i 's/a/b/' x; sed '/foo/d' y"),
        ("cat $HOME/x ${A}/y a/b ./c ../d ~/e", "cat $HOME/x ${A}/y a/b ./c ../d ~/e"),
        ('echo "$DIR"/x "/y"', 'echo "$DIR"/x "R/y"'),
        ("python -c 'open(\"/x\")'", "python -c 'open(\"R/x\")'"),
        ("python -c 'print(1 / 2)'", "python -c 'print(1 / 2)'"),
        ("/bin/sh -c 'ls /proc/self /sys'", "/bin/sh -c 'ls /proc/self /sys'"),
        ("cd / && ls -l /", "cd R/ && ls -l R/"),
        ("expr 4 / 2; echo $((4 / 2))", "expr 4 / 2; echo $((4 / 2))"),
        ("cat /etc/passwd", "cat /etc/passwd"),
        ("/usr/local/bin/own", "R/usr/local/bin/own"),
    ],
)
def test_paths_are_mapped_below_the_root(tmp_path: Path, text: str, expected: str) -> None:
    assert ImagePaths(tmp_path).text(text) == expected.replace("R/", f"{tmp_path}/")


def test_what_the_image_has_wins_over_the_system(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").touch()
    assert ImagePaths(tmp_path).text("cat /etc/passwd") == f"cat {tmp_path}/etc/passwd"


def test_a_place_never_leaves_the_root(tmp_path: Path) -> None:
    paths = ImagePaths(tmp_path)
    assert paths.place("/../../etc") == f"{tmp_path}/etc"
    assert paths.place("/") == str(tmp_path)


def test_a_long_hostile_text_takes_no_long_time(tmp_path: Path) -> None:
    began = time.monotonic()
    ImagePaths(tmp_path).text("sed '" + " /a" * 80_000 + "'")
    ImagePaths(tmp_path).text("cd " + " " * 200_000 + "/ file:" + "/" * 100_000)
    assert time.monotonic() - began < 10
