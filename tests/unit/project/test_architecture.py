"""The picture of the packages' imports; `make lint` holds it to the sources."""

from __future__ import annotations

import pytest

from tools import architecture
from tools.architecture import BEGIN, END, chart, reduced, with_chart


def test_only_arrows_that_do_not_follow_from_others() -> None:
    graph = {"cli": {"build", "matrix", "util"}, "build": {"matrix"}, "matrix": {"util"}}
    graph["util"] = set()
    assert reduced(graph) == [("cli", "build"), ("build", "matrix"), ("matrix", "util")]


def test_the_picture_is_replaced_between_its_marks() -> None:
    page = f"# Title\n\n{BEGIN}old\n{END}\nrest\n"
    drawn = chart([("cli", "util")])
    once = with_chart(page, drawn)
    assert once == f"# Title\n\n{BEGIN}{drawn}{END}\nrest\n"
    assert with_chart(once, drawn) == once


def test_the_picture_is_that_of_the_sources() -> None:
    pytest.importorskip("grimp")
    page = architecture.PAGE.read_text("utf-8")
    assert with_chart(page, chart(reduced(architecture.imports()))) == page
    assert "    cli --> " in page
