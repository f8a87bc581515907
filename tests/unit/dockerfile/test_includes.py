"""Includes are rendered once for all that they read, and never for anything else."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import jinja2
import pytest

from builder.dockerfile import build_context
from builder.dockerfile.build_context import copied
from builder.dockerfile.context import template_context
from builder.dockerfile.render import Renderer, default_templates
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.compare import assert_same

REAL = load_targets(Path(__file__).parents[3] / "matrix.yaml")


@cache
def jinja_alone(templates: Path | None) -> jinja2.Template:
    folders = [each for each in (templates, default_templates()) if each]
    loader = jinja2.ChoiceLoader(
        [
            jinja2.PrefixLoader({"dlc": jinja2.FileSystemLoader(default_templates())}),
            jinja2.FileSystemLoader(folders),
        ]
    )
    environment = jinja2.Environment(  # noqa: S701 - no HTML
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("Dockerfile.j2")


def plain(templates: Path | None, target: Target) -> str:
    """The Dockerfile as Jinja alone renders it."""
    return jinja_alone(templates).render(template_context(target))


def own(folder: Path, include: str, root: str = '{% include "stages/own.j2" %}') -> Path:
    """A folder of templates whose Dockerfile is this root, and includes this."""
    (folder / "stages").mkdir(parents=True)
    (folder / "Dockerfile.j2").write_text(root)
    (folder / "stages" / "own.j2").write_text(include)
    return folder


def all_as_jinja_alone(templates: Path | None, targets: Iterable[Target]) -> None:
    renderer = Renderer(templates)
    for target in [*targets, *targets]:  # again, when all of it is known
        text = renderer.files(target)["Dockerfile"].decode()
        assert_same(text, plain(templates, target), target.name)


def test_every_target_is_rendered_as_by_jinja_alone() -> None:
    all_as_jinja_alone(None, REAL)


def test_an_include_is_rendered_once_for_all_that_it_reads(tmp_path: Path) -> None:
    root = '{{ target.name }}{% include "stages/own.j2" %}'
    renderer = Renderer(own(tmp_path / "own", "{{ target.mode | noted }}", root))
    read: list[str] = []

    def noted(mode: str) -> str:
        read.append(mode)
        return mode

    renderer._environment.filters["noted"] = noted
    for target in REAL:
        assert renderer.files(target)["Dockerfile"] == f"{target.name}{target.mode}".encode()
    assert sorted(read) == ["inference", "training"]


@pytest.mark.parametrize(
    "include",
    [
        "{{ target.transformers }}",
        "{{ target.name }} {{ target.labels()['dlc.date'] }}",
        "{{ target.datasets if target.mode == 'training' else target.tag }}",
        "{{ target.base.name }} {{ target.base.pythons | length }} {{ target.build.carries }}",
        "{{ target.accelerator.name if target.accelerator else 'none' }}",
        "{{ target | attr('transformers') }}",
        "{{ [target] | map(attribute='transformers') | first }}",
        "{{ target | string | length }} {{ target == target }}",
        "{{ env }} {{ labels | tojson }} {{ wheel_sources }} {{ python_packages }}",
        "{{ target.library_requirements | join(' ') }}{{ target.system_date is none }}",
        "{% for each in target.library_requirements %}{% include 'dlc/stages/framework.j2' %}"
        "{{ loop.index }}{% endfor %}",
        "{% set target = 'other' %}{{ target }}{{ framework_title }}",
        "{% macro say(it) %}{{ it.tag }}{% endmacro %}{{ say(target) }}",
        "{% from 'dlc/macros.j2' import one_time with context %}{{ one_time() }}{{ target.tag }}",
    ],
)
def test_whatever_an_include_reads(include: str, tmp_path: Path) -> None:
    all_as_jinja_alone(own(tmp_path / "own", include), REAL[::5])


@pytest.mark.parametrize(
    "root",
    [
        "{% for each in [1, 2, 3] %}{% include 'stages/own.j2' %}{% endfor %}",
        "{% set each = target.tag %}{% include 'stages/own.j2' %}",
        "{% set each = 1 %}{% include 'stages/own.j2' ignore missing %}",
        "{% set each = 'a' %}{% include ['none.j2', 'stages/own.j2'] %}",
        "{% macro each() %}{{ target.tag }}{% endmacro %}{% include 'stages/own.j2' %}",
        "{% set each = namespace(a=target.tag) %}{% include 'stages/own.j2' %}"
        "{% set each.a = 2 %}{% include 'stages/own.j2' %}",
    ],
)
def test_what_the_including_template_sets(root: str, tmp_path: Path) -> None:
    include = "{{ each() if each is callable else each.a if each.a is defined else each }}"
    all_as_jinja_alone(own(tmp_path / "own", include, root), REAL[::5])


def test_a_loop_that_goes_on_is_not_the_same(tmp_path: Path) -> None:
    root = "{% for each in [7, 7] %}{{ loop.index }}{% include 'stages/own.j2' %}{% endfor %}"
    templates = own(tmp_path / "own", "{{ loop.index }}", root)
    assert Renderer(templates).files(REAL[0])["Dockerfile"] == b"1122"


def test_records_that_differ_are_read_apart(tmp_path: Path) -> None:
    renderer = Renderer(own(tmp_path / "own", "{{ target.base.jdk }}"))
    other = replace(REAL[0], base=replace(REAL[0].base, jdk="another"))
    found = [renderer.files(each)["Dockerfile"].decode() for each in (REAL[0], other, REAL[0])]
    assert found == [REAL[0].base.jdk, "another", REAL[0].base.jdk]


def test_places_in_the_matrix_are_no_part_of_a_target_in_templates(tmp_path: Path) -> None:
    renderer = Renderer(own(tmp_path / "b", "{{ target.python.at is defined }}"))
    assert renderer.files(REAL[0])["Dockerfile"] == b"False"


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM a\n\nCOPY b /\n\nRUN c \\\n\n  d\n\nCOPY e /\n",
        "RUN a \\\n  # why\n\n  --mount=type=bind,source=x,target=/x\n\nCOPY b /\n",
        "RUN --mount=type=bind,source=x,target=/x \\  \n\n\n # how\n\n COPY c /\n\nCOPY d /",
        "COPY <<X /a\nCOPY b /\n\nCOPY c /\nX\n\nCOPY d /\n",
        "# a \\\n\nCOPY b /\n\nCOPY c / \\",
        "COPY a /\r\n\r\nCOPY b /\r\n\n\nCOPY c \\\r\n\n d /\n",
        "\n\nCOPY a /\n\n\n\nCOPY b /\n\n",
    ],
)
def test_paragraphs_copy_what_the_whole_does(dockerfile: str) -> None:
    assert copied(dockerfile) == build_context._taken(dockerfile)
