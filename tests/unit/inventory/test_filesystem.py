"""What is found in a root file system."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.inventory import java_packages
from builder.inventory.class_file import module_version
from builder.inventory.filesystem import scan
from builder.inventory.model import Package
from builder.inventory.programs import OVERLAP, components, program
from tests.unit.inventory.trees import SITE, contents, jar, metadata, module_class

STATUS = """\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2

Package: libgcc-s1
Status: install ok installed
Source: gcc-12 (12.2.0-14)
Architecture: amd64
Version: 12.2.0-14+b1

Package: gone
Status: deinstall ok config-files
Version: 1
"""
COPYRIGHT = "Format: https://example.com/1.0/\n\nFiles: *\nLicense: GPL-2+\n text\n\nLicense: MIT\n"


def named(found: tuple[Package, ...]) -> dict[str, Package]:
    names = {each.name: each for each in found}
    assert len(names) == len(found)
    return names


def test_python_distributions_of_every_form() -> None:
    found = contents(
        {
            f"./{SITE}/Foo_Bar-1.dist-info/METADATA": metadata(
                "Foo.Bar", "1", "License-Expression: MIT OR Apache-2.0"
            ),
            f"{SITE}/Foo_Bar-1.dist-info/licenses/sub/LICENSE": "text",
            f"{SITE}/old-2.egg-info/PKG-INFO": metadata(
                "old",
                "2",
                "License: UNKNOWN",
                "Classifier: License :: OSI Approved :: MIT License",
            ),
            f"{SITE}/older-3.egg-info": metadata("older", "3", "License: BSD"),
            f"{SITE}/none-1.dist-info/METADATA": "Name: none\n",
            f"{SITE}/setuptools/_vendor/zipp-4.dist-info/METADATA": metadata("zipp", "4"),
            "usr/share/METADATA": metadata("elsewhere", "1"),
        }
    )
    packages = named(found.packages)
    assert packages.keys() == {"foo-bar", "old", "older", "zipp"}
    assert packages["foo-bar"].license == "MIT OR Apache-2.0"
    assert packages["foo-bar"].license_files == (
        f"/{SITE}/Foo_Bar-1.dist-info/licenses/sub/LICENSE",
    )
    assert packages["old"].licenses == ("MIT License",)
    assert packages["older"].licenses == ("BSD",)
    assert packages["zipp"].within == "setuptools"
    assert packages["foo-bar"].within == ""


def test_packages_of_the_distribution() -> None:
    found = contents(
        {
            "var/lib/dpkg/status": STATUS,
            "usr/share/doc/git/copyright": COPYRIGHT,
            "usr/share/doc/gcc-12-base/copyright": "see /usr/share/common-licenses/GPL-3.",
            "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
        },
        links=[("usr/share/doc/libgcc-s1", "gcc-12-base", tarfile.SYMTYPE)],
    )
    assert (found.distribution, found.release) == ("debian", "12")
    packages = named(found.packages)
    assert packages.keys() == {"git", "libgcc-s1"}
    git, gcc = packages["git"], packages["libgcc-s1"]
    assert (git.source, git.source_version, git.licenses) == ("git", git.version, ("GPL-2+", "MIT"))
    assert (gcc.source, gcc.source_version, gcc.licenses) == ("gcc-12", "12.2.0-14", ("GPL-3",))
    assert gcc.license_files == ("/usr/share/doc/gcc-12-base/copyright",)
    assert git.purl("debian") == "pkg:deb/debian/git@1%3A2.39.5-0%2Bdeb12u2?arch=amd64"


def test_a_second_name_of_one_file_counts() -> None:
    first = f"{SITE}/a-1.dist-info/METADATA"
    found = contents(
        {first: metadata("a", "1")}, links=[("x/a-1.dist-info/METADATA", first, tarfile.LNKTYPE)]
    )
    assert {each.path for each in found.packages} == {f"/{SITE}/a-1.dist-info", "/x/a-1.dist-info"}


def test_java_with_jars_in_jars_and_what_was_merged_into_them() -> None:
    properties = "groupId=org.x\nartifactId=inner\nversion=3\n"
    inner = jar({"META-INF/maven/org.x/inner/pom.properties": properties})
    merged: dict[str, bytes | str] = {
        "META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\nMain-Class: a.Main\r\n",
        "META-INF/io.netty.versions.properties": "netty-codec.version=4.1.9.Final\n",
        "META-INF/maven/org.y/y/pom.properties": "version=2\ngroupId=org.y\nartifactId=y\n",
        "META-INF/versions/9/module-info.class": module_class("org.apache.logging.log4j", "2.17.1"),
        "META-INF/DEPENDENCIES": "\n  - D (http://x) com.lmax:disruptor:jar:3.4.4\n",
        "org/apache/logging/log4j/LogManager.class": b"",
        "org/apache/logging/log4j/core/Logger.class": b"",
        "com/lmax/disruptor/RingBuffer.class": b"",
        "com/google/gson/Gson.class": b"",
        "lib/inner-3.jar": inner,
    }
    found = contents({"opt/server.jar": jar(merged)})
    packages = named(found.packages)
    assert {name: each.version for name, each in packages.items()} == {
        "server": "",
        "io.netty:netty-codec": "4.1.9.Final",
        "org.y:y": "2",
        "org.apache.logging.log4j:log4j-api": "2.17.1",
        "org.apache.logging.log4j:log4j-core": "2.17.1",
        "com.lmax:disruptor": "3.4.4",
        "com.google.code.gson:gson": "",
        "org.x:inner": "3",
    }
    assert packages["org.x:inner"].within == "/opt/server.jar"
    assert packages["org.y:y"].purl("debian") == "pkg:maven/org.y/y@2"


def test_an_archive_by_its_manifest_its_name_or_not_at_all() -> None:
    found = contents(
        {
            "a/jrt-fs.jar": jar({"META-INF/MANIFEST.MF": "Specification-Version: 17\r\n"}),
            "a/x-utils-1.2-SNAPSHOT.jar": jar({"A.class": b""}),
            "a/broken.jar": b"PK not at all",
        }
    )
    assert {each.name: each.version for each in found.packages} == {
        "jrt-fs": "17",
        "x-utils": "1.2-SNAPSHOT",
        "broken": "",
    }


def test_runtimes_and_programs() -> None:
    home = "opt/python/cpython-3.10.16-linux-x86_64-gnu"
    found = contents(
        {
            "opt/java/release": 'JAVA_VERSION="17.0.21"\n',
            "etc/release": "something else",
            f"{home}/bin/python3.10": b"\x7fELF",
            f"{SITE}/imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v7.0.2": b"\x7fELF 1",
            f"{SITE}/other/ffmpeg.py": b"",
        }
    )
    assert {(each.kind, each.name, each.version) for each in found.packages} == {
        ("runtime", "openjdk", "17.0.21"),
        ("runtime", "cpython", "3.10.16"),
        ("binary", "ffmpeg", "7.0.2"),
    }
    assert [(each.name, each.version) for each in components("efa=1.30.0 openmpi=4.1.5")] == [
        ("efa", "1.30.0"),
        ("openmpi", "4.1.5"),
    ]


@given(
    before=st.integers(0, 3 * OVERLAP),
    cut=st.integers(1, 2 * OVERLAP),
    said=st.sampled_from(
        [b"ffmpeg version n", b"FFmpeg Version N", b"ffmpeg version ffmpeg version "]
    ),
)
def test_a_programs_own_version_is_found_wherever_its_blocks_end(
    before: int, cut: int, said: bytes
) -> None:
    text = b"x" * before + said + b"7.0.2-static https://x " + b"y" * OVERLAP
    blocks = [text[at : at + cut] for at in range(0, len(text), cut)]
    path = f"/{SITE}/imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v7.0.1"
    [found] = program(path, blocks)
    assert (found.version, found.evidence) == ("7.0.2-static", "its own text")


@given(content=st.binary(max_size=200))
def test_what_is_no_class_has_no_module(content: bytes) -> None:
    assert module_version(content) == ("", "")
    assert module_version(b"\xca\xfe\xba\xbe" + content) == ("", "") or content


@given(content=st.binary(max_size=300))
def test_what_is_no_archive_is_still_told(content: bytes) -> None:
    found = java_packages.archive("/a/b.jar", b"PK\x03\x04" + content)
    assert [each.name for each in found] == ["b"]


def test_a_tar_that_breaks_off_is_an_error() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("a")
        member.size = 5000
        tar.addfile(member, io.BytesIO(bytes(5000)))
    with (
        pytest.raises(tarfile.TarError),
        tarfile.open(fileobj=io.BytesIO(stream.getvalue()[:1500]), mode="r|") as tar,
    ):
        scan(tar)
