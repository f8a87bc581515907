"""What images share: the arithmetic, the engine's history, the picture, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engine.layers import (
    ImageLayers,
    Layer,
    Sharing,
    from_json,
    pair,
    sharing,
    step_of,
    to_json,
)
from builder.matrix.target import Target
from builder.report.layers_svg import draw, summary
from tests.conftest import Dlc

SVG = "{http://www.w3.org/2000/svg}"

# Four digests, so that images share some; a digest's size is always the same.
DIGESTS = {
    f"sha256:{mark * 64}": size for mark, size in zip("abcd", (0, 1, 70, 10**9), strict=True)
}
TEXTS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=9)


@st.composite
def several(draw_: st.DrawFn) -> list[ImageLayers]:
    """Images of different names that have some layers in common."""
    found = []
    for name in draw_(st.lists(TEXTS, unique=True, max_size=5)):
        digests = draw_(st.lists(st.sampled_from(sorted(DIGESTS)), max_size=6))
        found.append(image(name, *(layer(each, DIGESTS[each], draw_(TEXTS)) for each in digests)))
    return found


def layer(digest: str, size: int, step: str = "RUN x") -> Layer:
    return Layer(digest=digest if ":" in digest else f"sha256:{digest * 64}", size=size, step=step)


def image(name: str, *layers: Layer) -> ImageLayers:
    return ImageLayers(name=name, layers=layers)


# Sharing


@given(several())
def test_sharing_counts_right(images: list[ImageLayers]) -> None:
    found = sharing(images)
    assert found.images == tuple(each.name for each in images)
    assert found.unique <= found.total == sum(each.size for each in images)
    assert found.ratio >= 1
    digests = {each.digest for one in images for each in one.layers}
    assert {each.digest for each in found.layers} == digests
    assert len(found.layers) == len(digests)
    assert found.unique == sum(DIGESTS[digest] for digest in digests)
    for each in found.layers:
        assert each.size == DIGESTS[each.digest]
        assert each.users == tuple(
            one.name for one in images if any(own.digest == each.digest for own in one.layers)
        )
        assert each.saved == each.size * (len(each.users) - 1)


def test_what_saves_most_comes_first() -> None:
    found = sharing(
        [
            image("one", layer("a", 10), layer("d", 4), layer("b", 25), layer("9", 3)),
            image("two", layer("a", 10), layer("d", 4), layer("c", 40)),
            image("six", layer("a", 10), layer("5", 3)),
        ]
    )
    assert [(each.digest[7], each.saved, len(each.users)) for each in found.layers] == [
        ("a", 20, 3),
        ("d", 4, 2),
        ("c", 0, 1),
        ("b", 0, 1),
        ("5", 0, 1),
        ("9", 0, 1),
    ]
    assert (found.total, found.unique) == (109, 85)
    assert found.layers[0].users == ("one", "two", "six")
    assert summary(found) == "3 images: 109 B in all, 85 B unique, ratio 1.3"


def test_nothing_shares_nothing() -> None:
    assert sharing([]) == Sharing(images=(), layers=(), total=0, unique=0)
    assert sharing([]).ratio == sharing([image("x", layer("a", 0))]).ratio == 1


def test_a_size_that_one_history_lacks() -> None:
    found = sharing([image("x", layer("a", 0)), image("y", layer("a", 7))])
    assert (found.layers[0].size, found.total, found.unique) == (7, 7, 7)


# JSON


@given(several())
def test_json_round_trip(images: list[ImageLayers]) -> None:
    for each in images:
        value = json.loads(json.dumps(to_json(each)))
        assert from_json(value) == each
        assert from_json({**value, "state": "built"}) == each


def test_json_is_as_documented() -> None:
    assert to_json(image("x:1", layer("a", 7, "base"))) == {
        "image": "x:1",
        "layers": [{"digest": f"sha256:{'a' * 64}", "size": 7, "step": "base"}],
    }


GOOD = {"digest": f"sha256:{'a' * 64}", "size": 1, "step": "base"}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (None, "`image` is not the name of an image"),
        ({"image": 7, "layers": []}, "`image` is not"),
        ({"image": "", "layers": []}, "`image` is not"),
        ({"image": "x\n", "layers": []}, "`image` is not"),
        ({"image": "x"}, "x: `layers` is not a list"),
        ({"image": "x", "layers": {}}, "x: `layers` is not a list"),
        ({"image": "x", "layers": ["a"]}, "x: a layer is not an object"),
        ({"image": "x", "layers": [{**GOOD, "digest": "abc"}]}, "`digest` is not sha256:"),
        ({"image": "x", "layers": [{**GOOD, "digest": None}]}, "`digest` is not sha256:"),
        ({"image": "x", "layers": [{**GOOD, "size": "1"}]}, "the `size` of sha256:aaaaaaaaaaaa is"),
        ({"image": "x", "layers": [{**GOOD, "size": -1}]}, "is not a number of bytes"),
        ({"image": "x", "layers": [{**GOOD, "size": 1.5}]}, "is not a number of bytes"),
        ({"image": "x", "layers": [{**GOOD, "size": True}]}, "is not a number of bytes"),
        ({"image": "x", "layers": [{**GOOD, "size": 10**400}]}, "is not a number of bytes"),
        ({"image": "x", "layers": [{**GOOD, "step": "\x1b[2J"}]}, "is not one line of text"),
        ({"image": "x", "layers": [{**GOOD, "step": "\ud800"}]}, "is not one line of text"),
    ],
)
def test_json_that_is_no_record(value: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        from_json(value)


# The engine's history


def entry(created_by: str | None, size: int = 0) -> dict[str, Any]:
    return {"CreatedBy": created_by, "Size": size, "Id": "<missing>", "Tags": None}


def told(layers: tuple[Layer, ...]) -> list[tuple[str, int, str]]:
    return [(each.digest, each.size, each.step) for each in layers]


def test_a_history_of_buildkit() -> None:
    history = [
        entry("", 125),
        entry("ENV LANG=C.UTF-8"),
        entry("RUN /bin/sh -c apt-get update  && apt-get install --yes  git # buildkit", 39),
        entry("COPY framework.lock /opt/dlc/ # buildkit", 14),
        entry("EXPOSE map[8080/tcp:{}]"),
        entry('CMD ["serve"]'),
        entry("LABEL a=b"),
    ]
    assert told(pair(["a", "b", "c"], history, total=178)) == [
        ("a", 125, "base"),
        ("b", 39, "RUN apt-get install git"),
        ("c", 14, "COPY framework.lock"),
    ]


def test_a_base_of_the_old_builder() -> None:
    history = [
        entry("/bin/sh -c #(nop) ADD file:4f0 in / ", 75),
        entry('/bin/sh -c #(nop)  CMD ["bash"]'),
        entry("RUN /bin/sh -c true # buildkit", 1),
    ]
    assert told(pair(["a", "b"], history)) == [("a", 75, "base"), ("b", 1, "RUN true")]


def test_an_image_that_begins_with_a_copy_has_no_base() -> None:
    assert told(pair(["a"], [entry("COPY tool / # buildkit", 3)])) == [("a", 3, "COPY tool")]


@pytest.mark.parametrize(
    ("count", "steps"),
    [
        (2, ["base", "RUN b"]),
        (3, ["base", "RUN b", "COPY empty"]),
        (4, ["base", "WORKDIR /srv", "RUN b", "COPY empty"]),
    ],
)
def test_layers_without_a_byte(count: int, steps: list[str]) -> None:
    """Whether an entry of no bytes made a layer is only told by the number of layers."""
    history = [
        entry("", 5),
        entry("WORKDIR /srv"),
        entry("USER 1000"),
        entry("RUN /bin/sh -c b # buildkit", 7),
        entry("COPY empty / # buildkit"),
    ]
    layers = pair(["a", "b", "c", "d"][:count], history)
    assert [each.step for each in layers] == steps
    assert sum(each.size for each in layers) == 12


def test_a_base_that_brought_no_history() -> None:
    """Steps belong to the last layers; the engine's sizes to the first; the sum is right."""
    history = [entry("COPY a / # buildkit", 100), entry("RUN /bin/sh -c b # buildkit", 10)]
    assert told(pair(["a", "b", "c", "d"], history, total=116)) == [
        ("a", 100, "base"),
        ("b", 10, "base"),
        ("c", 6, "COPY a"),
        ("d", 0, "RUN b"),
    ]
    assert told(pair(["a"], [], total=9)) == [("a", 9, "base")]
    assert told(pair(["a"], [])) == [("a", 0, "base")]
    assert pair([], history) == ()


@given(
    st.integers(0, 6),
    st.lists(
        st.builds(
            entry,
            st.sampled_from([None, "", "ENV A=b", "WORKDIR /a", "RUN /bin/sh -c a # buildkit"]),
            st.integers(0, 3),
        ),
        max_size=6,
    ),
)
def test_every_layer_is_paired(count: int, history: list[dict[str, Any]]) -> None:
    digests = [f"sha256:{number}" for number in range(count)]
    total = sum(each["Size"] for each in history)
    layers = pair(digests, history, total=total)
    assert [each.digest for each in layers] == digests
    assert all(each.size >= 0 and each.step for each in layers)
    if sum(each["Size"] > 0 for each in history) <= count > 0:
        assert sum(each.size for each in layers) == total


@pytest.mark.parametrize(
    ("created_by", "step"),
    [
        ("", "base"),
        ("COPY framework.lock /opt/dlc/ # buildkit", "COPY framework.lock"),
        ("COPY --chown=1:1 a.lock b.sh /tools/ # buildkit", "COPY a.lock b.sh"),
        ("COPY file:0a1b in /usr/local/bin/ ", "COPY /usr/local/bin/"),
        ("/bin/sh -c #(nop) COPY file:0a1b in /etc/x ", "COPY /etc/x"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("|2 A=b C=d e /bin/sh -c make all", "RUN make all"),
        ("RUN |1 A=b /bin/sh -c make all # buildkit", "RUN make all"),
        ("RUN /bin/bash -o pipefail -c a | b # buildkit", "RUN a | b"),
        ("RUN /bin/sh -c /opt/x /bin/sh -c y # buildkit", "RUN /opt/x /bin/sh -c y"),
        (
            "RUN /bin/sh -c PYTORCH_WHEELS=https://a/whl     "
            "/mnt/install.sh /opt/dlc/framework.lock # buildkit",
            "RUN /mnt/install.sh /opt/dlc/framework.lock",
        ),
        (
            "RUN /bin/sh -c mkdir --parents /a  && apt-get update  && apt-get install --yes "
            "--no-install-recommends         openjdk-17-jre-headless  && rm --recursive /b",
            "RUN apt-get install openjdk-17-jre-headless",
        ),
        (
            'RUN /bin/sh -ec began=$(($(date +%s) - 1)); sh -c "$0"; find / -xdev -newermt @$began '
            "-exec touch --no-dereference --date=@1577836800 {} + A=b make all # buildkit",
            "RUN make all",
        ),
        ("RUN /bin/sh -c A=b # buildkit", "RUN A=b"),
        ("WORKDIR /srv", "WORKDIR /srv"),
        ("RUN /bin/sh -c printf '\x1b[1m'\t\na", "RUN printf ' [1m' a"),
        (f"RUN /bin/sh -c {'word ' * 99}", f"RUN {'word ' * 13}wo…"),
    ],
)
def test_steps_are_short(created_by: str, step: str) -> None:
    assert step_of(created_by) == step
    assert len(step) <= 72


# The picture


def bars(svg: str) -> list[list[tuple[str, float, str]]]:
    """The segments of each bar: colour, width in pixels, tooltip."""
    rows: dict[str, list[tuple[str, float, str]]] = {}
    for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect"):  # noqa: S314 - our own
        title = rect.find(f"{SVG}title")
        if title is not None and title.text:
            segment = (rect.attrib["fill"], float(rect.attrib["width"]), title.text)
            rows.setdefault(rect.attrib["y"], []).append(segment)
    return list(rows.values())


def test_equal_layers_have_equal_colours() -> None:
    images = [
        image("huggingface-x:1", layer("a", 100, "base"), layer("b", 300), layer("c", 10, "A & B")),
        image("huggingface-x:2", layer("a", 100, "base"), layer("d", 200), layer("c", 10)),
    ]
    svg = draw(images, sharing(images))
    first, second = bars(svg)
    assert [segment[0] for segment in first][::2] == [segment[0] for segment in second][::2]
    assert len({segment[0] for segment in first}) == 3
    grey = first[1][0]
    assert grey[1:3] == grey[3:5] == grey[5:7]
    assert first[1][2] == "RUN x: 300 B, in 1 of 2"
    assert first[2][2] == second[2][2] == "A & B: 10 B, in 2 of 2"
    wide = [segment[1] for segment in first]
    assert wide[1] / wide[0] == pytest.approx(3, rel=0.01)
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314
    assert {"x:1", "x:2", "2 images: 720 B in all, 610 B unique, ratio 1.2"} <= set(texts)


@given(several())
def test_a_picture_is_xml_and_always_the_same(images: list[ImageLayers]) -> None:
    found = sharing(images)
    svg = draw(images, found)
    assert svg == draw(list(images), sharing(images))
    tree = ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert tree.tag == f"{SVG}svg"
    texts = {text.text for text in tree.iter(f"{SVG}text")}
    assert {each.name.removeprefix("huggingface-") for each in images} <= texts
    assert sum(map(len, bars(svg))) == sum(len(each.layers) for each in images)


def test_a_picture_escapes_and_loads_nothing() -> None:
    name = "<script>\"&'\x00\ud800"
    images = [image(name, layer("a", 1, "</svg>"))]
    svg = draw(images, sharing(images))
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314
    assert "<script>\"&'\ufffd\ufffd" in texts
    assert "<script" not in svg
    assert svg.count("http") == 1  # the namespace
    assert svg.encode().endswith(b"</svg>\n")


def test_many_layers_have_as_many_colours() -> None:
    own = [
        Layer(digest=f"sha256:{number:064}", size=1000 - number, step="x") for number in range(99)
    ]
    images = [image("x", *own), image("y", *own)]
    assert len({segment[0] for segment in bars(draw(images, sharing(images)))[0]}) == 99


# The command


@pytest.fixture
def names(small: dict[str, Target]) -> list[str]:
    """The inference images of the small matrix, in its order."""
    return [name for name, target in small.items() if target.mode == "inference"]


@pytest.fixture
def record(names: list[str], small: dict[str, Target], tmp_path: Path) -> Path:
    """Layers of the first inference images and of all training ones, one on a stand-in."""
    training = [name for name in small if name not in names]
    base, own, other = (
        layer("a", 80_000_000, "base"),
        layer("b", 9, "RUN b"),
        layer("c", 7, "RUN c"),
    )
    rows = [
        {**to_json(image(f"stand-in/{names[0]}", base, own)), "state": "built"},
        to_json(image(names[1], base, other)),
        {"image": names[2], "state": "failed"},
        {"image": "unheard-of:1", "layers": None},
        *(to_json(image(name, base)) for name in training),
    ]
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"rows": rows, "engine": "20.10"}), encoding="utf-8")
    return path


def test_recorded_for_people(
    dlc: Dlc, golden: Path, record: Path, names: list[str], tmp_path: Path
) -> None:
    picture = tmp_path / "layers.svg"
    options = ("--mode", "inference", "--recorded", record, "--picture", picture)
    run = dlc("--matrix", golden / "matrix.yaml", "layers", *options)
    assert run.code == 0
    assert run.out.splitlines() == [
        "layer         size   used by  step",
        "aaaaaaaaaaaa  80 MB  2 of 2   base",
        "bbbbbbbbbbbb  9 B    1 of 2   RUN b",
        "cccccccccccc  7 B    1 of 2   RUN c",
        "",
        "2 images: 160 MB in all, 80 MB unique, ratio 2.0",
    ]
    assert run.err.splitlines() == [
        *(f"{name}: no layers recorded, skipped" for name in names[2:]),
        f"wrote {picture}",
    ]
    assert len(bars(picture.read_text(encoding="utf-8"))) == 2


def test_recorded_for_programs(dlc: Dlc, golden: Path, record: Path, names: list[str]) -> None:
    options = (*names[:2], "--recorded", record, "--format", "json")
    run = dlc("--matrix", golden / "matrix.yaml", "layers", *options)
    assert (run.code, run.err) == (0, "")
    shown = json.loads(run.out)
    assert shown.pop("ratio") == pytest.approx(160_000_016 / 80_000_016)
    assert shown == {
        "images": [
            {"image": names[0], "size": 80_000_009},
            {"image": names[1], "size": 80_000_007},
        ],
        "total": 160_000_016,
        "unique": 80_000_016,
        "layers": [
            {
                "digest": f"sha256:{mark * 64}",
                "size": size,
                "step": step,
                "users": users,
                "saved": size if len(users) == 2 else 0,
            }
            for mark, size, step, users in (
                ("a", 80_000_000, "base", names[:2]),
                ("b", 9, "RUN b", names[:1]),
                ("c", 7, "RUN c", names[1:2]),
            )
        ],
    }


def test_nothing_recorded(dlc: Dlc, golden: Path, record: Path, names: list[str]) -> None:
    run = dlc("--matrix", golden / "matrix.yaml", "layers", names[2], "--recorded", record)
    assert (run.code, run.out) == (13, "")
    assert run.err.startswith(f"dlc: {record} has no layers of the selected targets; select ")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (None, "no such file or directory"),
        (b"", "not JSON ("),
        (b"\xff", "not JSON ("),
        (b"[" * 100_000, "not JSON ("),
        (b"[]", "no object with a list `rows`"),
        (b'{"rows": {}}', "no object with a list `rows`"),
        (b'{"rows": [7]}', "row 1 is not an object"),
        (b'{"rows": [{"layers": []}]}', "row 1: `image` is not the name of an image"),
        (b'{"rows": [{"image": "x", "layers": 1}]}', "row 1: x: `layers` is not a list"),
        (b'{"rows": [{"image": "x"}, {"image": "x", "layers": [1]}]}', "row 2: x: a layer is not"),
    ],
)
def test_files_that_are_no_record(
    content: bytes | None, wrong: str, dlc: Dlc, golden: Path, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    run = dlc("--matrix", golden / "matrix.yaml", "layers", "--recorded", path)
    assert (run.code, run.out) == (2, "")
    message = run.err.splitlines()[-1]
    assert f"--recorded: {path}: {wrong}" in message
    assert message.endswith("; name a file as `dlc layers --help` shows it")
    assert "Traceback" not in run.err


def test_two_rows_of_one_image(dlc: Dlc, golden: Path, names: list[str], tmp_path: Path) -> None:
    both = [to_json(image(f"{prefix}{names[0]}", layer("a", 1))) for prefix in ("", "stand-in/")]
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"rows": both}), encoding="utf-8")
    run = dlc("--matrix", golden / "matrix.yaml", "layers", "--recorded", path)
    assert run.code == 2
    assert f"row 2: a second row with layers of {names[0]}; name a file" in run.err


def test_a_picture_that_cannot_be_written(dlc: Dlc, golden: Path, record: Path) -> None:
    picture = record / "layers.svg"
    options = ("--recorded", record, "--picture", picture)
    run = dlc("--matrix", golden / "matrix.yaml", "layers", *options)
    assert (run.code, run.out) == (1, "")
    last = run.err.splitlines()[-1]
    assert last.startswith(f"dlc: {picture} cannot be written: not a directory; ")


def test_only_a_record_needs_no_engine(
    dlc: Dlc, golden: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{record.parent}/no.sock")
    run = dlc("--matrix", golden / "matrix.yaml", "layers")
    assert (run.code, run.out) == (10, "")
    assert run.err.startswith("dlc: the Docker Engine that DOCKER_HOST names does not answer")
    assert dlc("--matrix", golden / "matrix.yaml", "layers", "--recorded", record).code == 0
