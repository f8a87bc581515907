"""Sites for tests: one of a few images, and one in which every text tries to be markup."""

from __future__ import annotations

import datetime
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

from builder.engine.layers import Layer
from builder.inventory.diff import Change
from builder.matrix.uris import regions
from builder.site.collect import Sources, collect
from builder.site.records import (
    Advisory,
    Asked,
    Catalog,
    Contract,
    Image,
    Package,
    Proof,
    Published,
    Table,
    Task,
)
from builder.util.check import Check
from tests.conftest import GOLDEN, ROOT

__all__ = ["HOSTILE", "Links", "broken", "hostile", "image", "real", "sources"]

# Each would run, or break a page, where it is not escaped.
HOSTILE = (
    "</script><script>window.broken = 1</script>"
    "<img src=x onerror='window.broken=1'>\"'`{{ 7*7 }}&lt;"
)


@cache
def sources() -> Sources:
    """Those of the project itself."""
    from builder.matrix.targets import load_targets

    return Sources(
        targets=load_targets(ROOT / "matrix.yaml", name="matrix.yaml"),
        images=ROOT / "images",
        docs=ROOT / "docs",
        releases=GOLDEN / "no-releases",
        templates={"": ROOT / "templates"},
        today=datetime.date(2026, 11, 28),
    )


def real(*, each: int = 1) -> Catalog:
    """All images of the project, or a part of them: of each so many one."""
    return collect(replace(sources(), targets=sources().targets[::each]))


def image(number: int = 0, **changes: object) -> Image:
    """An image with something of everything."""
    tag = f"2.{number}.0-transformers4.{number}.1-cpu-py311-debian12"
    found = Image(
        name=f"huggingface-pytorch-inference:{tag}",
        repository="huggingface-pytorch-inference",
        tag=tag,
        mode="inference",
        framework="PyTorch",
        framework_version=f"2.{number}.0",
        transformers=f"4.{number}.1",
        datasets="",
        device="cpu",
        python="3.11",
        standalone_python="",
        os="debian12",
        base="debian:bookworm@sha256:" + "0" * 64,
        accelerator="",
        carries="cpu",
        driver_cuda="",
        date=f"2026-01-{number % 28 + 1:02}",
        locked="2026-01-01",
        end_of_life="2028-06-30",
        origin="own",
        components=(),
        labels={"dlc.build": "cpu"},
        env={},
        budget="",
        state="proven",
        reason="all checks passed",
        dockerfile="# why\nFROM debian\nRUN true\n",
        packages=(Package(kind="python", name="numpy", version="1.26.4", layer="libraries"),),
        proof=Proof(
            base="debian12",
            stand_in="",
            gaps=(),
            date="2026-02-01",
            seconds=20.0,
            size=300,
            limit=400,
            fills={"locked": 200, "java": 0, "system": 50, "rest": 50},
            error="",
            checks=(Check(name="python", passed=True, detail="3.11"),),
            layers=(
                Layer(digest="sha256:" + "1" * 64, size=100, step="base"),
                Layer(digest=f"sha256:{number:064}", size=200, step="RUN true"),
            ),
        ),
        tasks=(
            Task(
                name="fill-mask",
                supported=True,
                passed=True,
                seconds=2.0,
                detail="the 0.21",
                reason="",
            ),
        ),
        asked=Asked(date="2026-02-03", toolkit="2.6.0", stand_in=""),
        contract=Contract(
            date="2026-02-04",
            seconds=300,
            stand_in="",
            parts={"first": (1, 1), "protocol": (34, 35), "components": (0, 0)},
            skipped=("user_code::context: hooks have no context",),
            told={"training_start::toolkit": "sagemaker-training 3.9.2"},
        ),
        advisories=(),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def hostile() -> Catalog:
    """Two images of which every text that is not held to a grammar is HOSTILE."""
    told = image()
    assert told.proof
    assert told.tasks
    bad = replace(
        told,
        os=HOSTILE,
        accelerator=HOSTILE,
        carries=HOSTILE,
        components=(HOSTILE,),
        labels={HOSTILE: HOSTILE},
        env={HOSTILE: HOSTILE},
        reason=HOSTILE,
        dockerfile=f"# {HOSTILE}\nRUN echo {HOSTILE}\n",
        packages=(
            Package(kind="python", name=HOSTILE, version=HOSTILE, licenses=(HOSTILE,)),
            Package(kind=HOSTILE, name="__proto__", version="constructor", within=HOSTILE),
        ),
        proof=replace(
            told.proof,
            base=HOSTILE,
            stand_in=HOSTILE,
            gaps=(HOSTILE,),
            error=HOSTILE,
            checks=(Check(name=HOSTILE, passed=False, detail=HOSTILE),),
            layers=(Layer(digest="sha256:" + "1" * 64, size=100, step=HOSTILE),),
        ),
        tasks=(replace(told.tasks[0], name=HOSTILE, detail=HOSTILE, reason=HOSTILE),),
        asked=Asked(date=HOSTILE, toolkit=HOSTILE, stand_in=HOSTILE),
        contract=Contract(
            date=HOSTILE,
            seconds=1,
            stand_in=HOSTILE,
            parts={HOSTILE: (0, 1)},
            skipped=(HOSTILE,),
            told={HOSTILE: HOSTILE},
        ),
        advisories=(
            Advisory(
                id=HOSTILE,
                aliases=(HOSTILE,),
                severity="high",
                summary=HOSTILE,
                package=HOSTILE,
                version=HOSTILE,
                fix=HOSTILE,
                fixed_in=HOSTILE,
                accepted=HOSTILE,
                until=HOSTILE,
            ),
        ),
        accepted=((HOSTILE, HOSTILE, HOSTILE),),
        published=(
            Published(
                date="2026-02-01",
                image=HOSTILE,
                tags=(HOSTILE,),
                digest="sha256:" + "2" * 64,
                size=100,
                profile="oci",
                notes=HOSTILE,
            ),
        ),
        inventory_of=HOSTILE,
        former=image(1).name,
        changes=(Change(what="added", kind="python", name=HOSTILE, before=HOSTILE, after=HOSTILE),),
    )
    templates = {"stages/bad.j2": f"# {HOSTILE}\nRUN echo {HOSTILE}\n"}
    table = Table(heading=HOSTILE, titles=(HOSTILE,), rows=(((HOSTILE,), bad.name),))
    return Catalog(
        images=(bad, image(1)),
        tables=(table,),
        templates=templates,
        regions=regions(),
        version="0",
    )


class Links(HTMLParser):
    """What a page has: addresses, ids, names of elements, and whatever a strict policy refuses."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.elements: list[str] = []
        self.refused: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: Mapping[str, str | None] = dict(attrs)
        self.elements.append(tag)
        self.addresses += [value for name in ("href", "src") if (value := given.get(name))]
        if identifier := given.get("id"):
            self.ids.append(identifier)
        self.refused += [
            f"{tag} {name}" for name in given if name.startswith("on") or name == "style"
        ]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.refused.append(tag)


def broken(site: Mapping[str, bytes], names: Iterable[str]) -> list[str]:
    """The links of these pages to a page, an asset or a place in a page that is not there."""
    pages: dict[str, Links] = {}

    def page(name: str) -> Links:
        if name not in pages:
            pages[name] = Links(site[name])
        return pages[name]

    found = []
    for name in names:
        for address in page(name).addresses:
            path, fragment = urldefrag(address)
            to = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
            to = to if path else name
            if to not in site:
                found.append(f"{name}: {address}")
            elif fragment and "=" not in fragment and fragment not in page(to).ids:
                found.append(f"{name}: {address} has no such place")
    return found
