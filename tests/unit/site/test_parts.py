"""Parts of pages: the treemap, the sections of a Dockerfile, snippets."""

from __future__ import annotations

import html
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builder.site import overview
from builder.site.charts import Series, chart
from builder.site.dockerfile import Templates, highlighted, sections
from builder.site.pictures import treemap
from builder.site.records import Catalog, Published
from builder.site.snippets import FILLS, default_fills, snippets
from tests.conftest import ROOT
from tests.site_samples import HOSTILE, image

GPU = "huggingface-pytorch-inference/2.3.0-transformers4.48.0-gpu-py311-cu121-ubuntu22.04"


@given(st.lists(st.integers(0, 10**10), max_size=30))
def test_a_treemap_fills_its_place_in_proportion(sizes: list[int]) -> None:
    boxes = treemap(sizes, 720, 300)
    assert sorted(box.index for box in boxes) == [i for i, size in enumerate(sizes) if size]
    total = sum(sizes)
    for box in boxes:
        assert box.width * box.height == pytest.approx(720 * 300 * sizes[box.index] / total)
        assert -1e-6 <= box.x <= box.x + box.width <= 720 + 1e-6
        assert -1e-6 <= box.y <= box.y + box.height <= 300 + 1e-6
    for one in boxes:
        for other in boxes:
            if one.index < other.index:
                wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
                high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
                assert min(wide, high) < 1e-6


def test_every_section_of_every_dockerfile_is_there(catalog: Catalog) -> None:
    templates = Templates(catalog.templates)
    for one in catalog.images:
        found = list(sections(one.dockerfile, templates))
        lines = one.dockerfile.splitlines()
        for each in found:
            text = each.text.splitlines()
            assert lines[each.line - 1 : each.line - 1 + len(text)] == text
        told = sum(len(each.text.splitlines()) for each in found)
        assert told == sum(bool(line.strip()) for line in lines)


def test_sections_lead_to_their_templates(catalog: Catalog) -> None:
    templates = Templates(catalog.templates)
    dockerfile = ROOT / "images" / GPU / "Dockerfile"
    parts = sections(dockerfile.read_text("utf-8"), templates)
    found = {each.text.split("\n")[0]: each.place for each in parts}

    def of(begin: str) -> str:
        [place] = [place for line, place in found.items() if line.startswith(begin)]
        return place.template if place else ""

    assert of("# PyTorch 2.3.0 with what it alone needs") == "stages/framework.j2"
    assert of("# Transformers 4.48.0 and the rest") == "stages/libraries.j2"
    assert of("# Java with no more than") == "stages/java.j2"
    assert of("# CUDA 12.1 is in the framework's own wheel") == "stages/cuda.j2"
    [place] = [place for line, place in found.items() if line.startswith("# Java with no more")]
    assert place
    source = (ROOT / "templates" / place.template).read_text("utf-8").splitlines()
    assert source[place.line - 1].startswith("# Java with no more than")


def test_every_section_but_the_title_has_a_template(catalog: Catalog) -> None:
    templates = Templates(catalog.templates)
    places = [each.place for one in catalog.images for each in sections(one.dockerfile, templates)]
    assert sum(place is not None for place in places) == len(places) - len(catalog.images)


def test_highlighting_changes_no_character() -> None:
    text = f"# {HOSTILE}\nRUN echo 'a' && \\\n    echo $B  # {HOSTILE}"
    marked = highlighted(text)
    assert html.unescape(re.sub("<[^>]*>", "", marked)) == text
    assert set(re.findall("<[^>]*>", marked)) <= {
        *re.findall(r'<span class="[a-z0-9 ]*">', marked),
        "<span>",
        "</span>",
    }


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize("device", ["cpu", "gpu", "neuronx"])
def test_snippets_are_sound(mode: str, device: str) -> None:
    one = image(mode=mode, device=device)
    fills = default_fills(one)
    assert set(fills) == set(FILLS)
    texts = {
        each.id: "".join(text or fills[fill] for text, fill in each.parts) for each in snippets(one)
    }
    assert all(fills["uri"] in text for name, text in texts.items() if name != "build")
    for name in ("sagemaker2", "sagemaker3"):
        compile(texts[name], name, "exec")
    document = yaml.safe_load(texts["kubernetes"])
    pod = document["spec"]["template"]["spec"] if mode == "training" else document["spec"]
    [container] = pod["containers"]
    assert container["image"] == fills["uri"]
    assert ("resources" in container) == (device != "cpu")
    assert ("--gpus all" in texts["run"]) == (device == "gpu")


def test_an_official_image_is_in_the_official_registry() -> None:
    assert default_fills(image(origin="official"))["host"].startswith("763104351884.")
    assert default_fills(image(origin="own"))["host"].startswith("123456789012.")


def test_a_chart_has_every_point_in_its_frame() -> None:
    lines = [
        Series(name="a", points=(("2021-03-01", 2 * 10**9, "x"), ("2026-01-01", 9 * 10**9, "y"))),
        Series(name="b", points=(("2023-06-01", 1, "z"),)),
    ]
    found = chart(lines)
    assert found
    dots = {dot.label: dot for _, _, dots in found.lines for dot in dots}
    assert dots["x"].x < dots["z"].x < dots["y"].x
    assert dots["y"].y < dots["x"].y < dots["z"].y
    assert all(0 < dot.x < found.width and 0 < dot.y < found.height for dot in dots.values())
    assert [year for _, year in found.years] == ["2022", "2023", "2024", "2025", "2026"]
    assert [size for _, size in found.sizes] == [number * 2 * 10**9 for number in range(6)]


def test_a_chart_of_one_day_and_of_nothing() -> None:
    assert chart([]) is None
    found = chart([Series(name="a", points=(("2026-01-01", 5, "x"),))])
    assert found
    assert len(found.lines) == 1


def test_the_matrix_has_each_image_once(catalog: Catalog) -> None:
    grids = overview.matrix(catalog)["grids"]
    shown = [one.name for grid in grids for _, row in grid.rows for cell in row for _, one in cell]
    assert sorted(shown) == sorted(each.name for each in catalog.images)
    assert [grid.framework for grid in grids] == ["PyTorch", "TensorFlow"]


def test_sizes_over_time_are_those_that_were_pushed() -> None:
    one = image()
    told = overview.sizes(Catalog(images=(one,), templates={}, regions={}))
    assert list(told["charts"]) == ["measured"]
    days = [("2026-03-01", 700), ("2026-02-01", 600)]
    pushed = tuple(
        Published(date=day, image="r", tags=(), digest="d", size=size, profile="oci")
        for day, size in days
    )
    told = overview.sizes(Catalog(images=(image(published=pushed),), templates={}, regions={}))
    assert list(told["charts"]) == ["pushed", "measured"]
    [(name, _, dots)] = told["charts"]["pushed"].lines
    assert name == one.name
    assert [(dot.date, dot.size) for dot in dots] == sorted(days)


def test_proof_and_tasks_tell_of_all(catalog: Catalog) -> None:
    told = overview.proof(catalog)
    missing = [one for images in told["missing"].values() for one in images]
    assert len(told["proven"]) + len(missing) == len(catalog.images)
    asked = overview.tasks(catalog)
    assert all(len(answers) == len(asked["asked"]) for _, answers in asked["rows"])
