"""Runs the contract against an image, test by test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import ArgumentError, DlcError, SelectionError

if TYPE_CHECKING:
    import pytest

__all__ = ["Result", "run"]

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of one test. `outcome` is passed, failed or skipped; `detail` what was found.

    `output` is why it failed, in full; `properties` are those that the test recorded.
    """

    test: str
    outcome: str
    seconds: float
    detail: str = ""
    output: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)  # hashable, as plugins have to be for older pytests
class Collector:
    """A plugin of pytest's that hands on every test's result, and keeps what went wrong besides."""

    on_result: Callable[[Result], None]
    selected: Callable[[int], None] = lambda _: None
    results: list[Result] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that does not import."""
        if report.failed:
            self.errors.append(str(report.longrepr))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """All tests are known."""
        self.selected(len(session.items))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has a report for its set-up, itself and its end; one of them tells."""
        if report.when != "call" and report.passed:
            return
        properties = {name: str(value) for name, value in report.user_properties}
        detail = properties.get("detail", "")
        if report.skipped and isinstance(report.longrepr, tuple):
            detail = report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed and report.longrepr:
            crash: Any = getattr(report.longrepr, "reprcrash", None)
            detail = (crash.message if crash else str(report.longrepr)).splitlines()[0]
        result = Result(
            test=report.nodeid.removeprefix("test_").replace(".py::test_", "::"),
            outcome=report.outcome,
            seconds=round(report.duration, 1),
            detail=detail,
            output=str(report.longrepr) if report.failed else "",
            properties=properties,
        )
        self.results.append(result)
        self.on_result(result)


def run(
    image: str,
    *,
    name: str | None = None,
    only: str = "",
    on_result: Callable[[Result], None] = lambda _: None,
    selected: Callable[[int], None] = lambda _: None,
) -> Sequence[Result]:
    """Run all tests of the contract that fit an image, or those that `only` picks (pytest's -k).

    `selected` is called with their number before the first runs, `on_result` with each result.
    `name` says what the image promises where its own name does not. DlcError if pytest is not
    installed or no test could be run, ArgumentError if `only` is no expression, SelectionError if
    it matches no test.
    """
    try:
        import pytest
    except ImportError as error:
        raise DlcError(
            "the contract needs pytest", remedy="install it: pip install 'dlc-builder[contract]'"
        ) from error
    collector = Collector(on_result=on_result, selected=selected)
    arguments = ["--config-file", str(HERE / "pytest.ini"), "--rootdir", str(HERE), str(HERE)]
    arguments += ["--image", image, *(["--name", name] if name else [])]
    arguments += ["-k", only] if only else []
    # Modules of the contract are imported anew, or their assertions say nothing.
    for module in [m for m in sys.modules if m.startswith("builder.contract.test_")]:
        del sys.modules[module]
    wrong = ""

    class Selection:
        """Keeps why pytest refuses an expression, instead of having it written out at once."""

        @pytest.hookimpl(wrapper=True)
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
            nonlocal wrong
            try:
                yield
            except pytest.UsageError as error:
                wrong = str(error).rpartition(f"{only.lstrip()}: ")[2]
                items.clear()

    code = pytest.main(arguments, plugins=[collector, Selection()])
    if wrong:
        raise ArgumentError(
            f"--only {only!r} is not an expression: {wrong}",
            remedy="name tests, parts of names, or several with and, or, not and parentheses",
        )
    if code == pytest.ExitCode.INTERRUPTED and not collector.errors:
        raise KeyboardInterrupt
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and not collector.errors:
        raise SelectionError(
            f"no contract test matches {only!r} for {image}", remedy="fix --only, or leave it out"
        )
    if collector.errors or code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        what = "\n".join(collector.errors) or f"pytest ended with {code!r}"
        raise DlcError(f"the contract could not be run against {image}: {what}")
    return collector.results
