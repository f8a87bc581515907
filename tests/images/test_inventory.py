"""The inventory of a real image, beside what others find in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from builder.matrix.requirements import normalise
from builder.util.tar import unpack
from tests.images.conftest import INFERENCE, Image, dlc

pytestmark = pytest.mark.images

# Syft's names of kinds; what it takes for .NET are launchers of Windows inside pip.
SYFT = {"python": "python", "deb": "system", "java-archive": "java", "binary": "runtime"}


@pytest.fixture(scope="module")
def document(inference_image: Image) -> dict[str, Any]:
    result = dlc("inventory", INFERENCE, "--format", "json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["id"] == inference_image.built["id"]
    return found


def named(document: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document["packages"] if each["kind"] == kind}


def test_every_kind_is_there(document: dict[str, Any]) -> None:
    assert document["differences"] == []
    assert (document["distribution"], document["release"]) == ("debian", "12")
    python, java = named(document, "python"), named(document, "java")
    assert python["torch"]["layer"] == "framework"
    assert python["transformers"]["layer"] == "libraries"
    assert all(each.get("layer") or each.get("within") for each in python.values())
    assert named(document, "system")["libc6"]["source"] == "glibc"
    assert named(document, "runtime")["openjdk"]["version"].startswith("17.")
    assert re.match(r"\d+\.\d+", named(document, "binary")["ffmpeg"]["version"])
    for name in ("io.netty:netty-codec-http", "com.google.code.gson:gson"):
        assert java[name]["version"]
        assert java[name]["within"].endswith("model-server.jar")
    assert java["org.apache.logging.log4j:log4j-core"]["version"]
    assert document["layers"]
    assert document["config"]["entrypoint"][0] == "python"


def test_the_table_and_what_programs_read(document: dict[str, Any]) -> None:
    table = dlc("inventory", INFERENCE)
    assert table.returncode == 0, table.stderr
    header, *rows = table.stdout.splitlines()
    assert header.split() == ["kind", "package", "version", "from", "license"]
    assert len(rows) == len(document["packages"])
    for form, packages in (("spdx", "packages"), ("cyclonedx", "components")):
        result = dlc("inventory", INFERENCE, "--format", form)
        assert result.returncode == 0, result.stderr
        listed = json.loads(result.stdout)[packages]
        assert len(listed) == len(document["packages"]) + (form == "spdx")


def test_a_build_has_recorded_it(document: dict[str, Any], own_state: Path) -> None:
    name = f"{document['id'].partition(':')[2]}.json"
    record = json.loads((own_state / "inventories" / document["key"] / name).read_text("utf-8"))
    assert record.pop("program")
    assert record == document


def test_there_must_be_an_image() -> None:
    result = dlc("inventory", "nothing:here")
    assert (result.returncode, result.stdout) == (4, "")
    assert "nothing:here is no file, target, REF:TARGET or image" in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_that_syft_finds_is_missing(
    inference_image: Image, document: dict[str, Any], tmp_path: Path
) -> None:
    archive, root = tmp_path / "image.tar", tmp_path / "root"
    container = inference_image.client.containers.create(inference_image.tag)
    try:
        parts: Any = container.export()
        with archive.open("wb") as file:
            for part in parts:
                file.write(part)
    finally:
        container.remove(force=True)
    with archive.open("rb") as file:  # files alone: the tree is only looked at
        unpack(file, root, wanted=tarfile.TarInfo.isfile)
    archive.unlink()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("syft")), "scan", f"dir:{root}", "--output", "json"],
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours = {
        (each["kind"], each["name"].rpartition(":")[2], each["version"])
        for each in document["packages"]
    }
    # In a folder Syft does not see that programs are dpkg's, as /bin is a link.
    ours |= {
        ("runtime", name, version.partition(":")[2] or version)
        for name, version in (
            (each["name"], each["version"].partition("-")[0])
            for each in document["packages"]
            if each["kind"] == "system"
        )
    }
    theirs = set()
    for each in json.loads(done.stdout)["artifacts"]:
        if each["type"] in SYFT:
            name = normalise(each["name"]) if each["type"] == "python" else each["name"]
            version = "" if each["version"] == "UNKNOWN" else each["version"]
            theirs.add((SYFT[each["type"]], name, version))
    assert len(theirs) > 150
    assert theirs <= ours, sorted(theirs - ours)
