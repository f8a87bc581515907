"""`dlc bases` against registries of our own, and what `dlc build` says of bases that are over."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engine import connection
from builder.engine.base_pins import expired, pinned_digest
from builder.engine.connection import Engine
from builder.errors import BaseImageError, BuildError
from builder.matrix.edit import MatrixText
from builder.matrix.format import Matrix
from builder.matrix.read import read
from builder.matrix.target import Target
from builder.matrix.yaml_nodes import Report
from builder.registry import digests as registry_digests
from builder.registry.digests import Answer, ask
from tests.conftest import Dlc, Run
from tests.unit.corpus import SMALL

NOW = "sha256:" + "1" * 64
PINNED = {
    name: "sha256:" + letter * 64 for name, letter in (("debian12", "a"), ("ubuntu18.04", "b"))
}
MANIFEST = "application/vnd.oci.image.index.v1+json"
LOGIN = "Basic " + base64.b64encode(b"builder:secret").decode()


class Registry(ThreadingHTTPServer):
    """A registry whose repositories each answer in a way of their own: that of their name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.asked: list[tuple[str, str]] = []
        self.ended = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of ours."""


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        said = self.headers.get("Authorization", "")
        self.server.asked.append((self.path, said))
        if match := re.fullmatch(r"(?:/v[\d.]+)?/distribution/(.*)/json", self.path):
            self.as_engine(match[1])
        elif self.path.startswith("/token"):
            self.tell(200, body=self.token())
        else:
            _, _, name, _, wanted = self.path.split("/")
            self.as_registry(name, wanted, said)

    def do_GET(self) -> None:
        self.do_HEAD()

    def as_registry(self, name: str, wanted: str, said: str) -> None:
        if name == "garbage":
            self.wfile.write(b"\0\1 no http\n\n")
        elif name == "silent":
            self.server.ended.wait()
        elif name in {"basic", "moved-basic"} and said != LOGIN:
            self.tell(401, {"WWW-Authenticate": "Basic realm=here"})
        elif name in {"moved", "moved-basic"}:
            address = f"http://localhost:{self.server.port}/v2/open/manifests/new"
            self.tell(307, {"Location": address})
        elif name.isdigit():
            self.tell(int(name))
        elif name == "page":
            self.tell(200, {"Content-Type": "text/html"})
        elif name == "untold":
            self.tell(200, {"Content-Type": MANIFEST})
        elif name in {"token", "broken-token", "file-token"} and said != "Bearer t0ken":
            server = "file:///etc" if name == "file-token" else f"http://{self.server.host}/token"
            challenge = f'Bearer realm="{server}?for={name}",service="us",scope="pull,{name}"'
            self.tell(401, {"WWW-Authenticate": challenge})
        elif name != "hangup":
            digest = wanted if wanted.startswith("sha256:") else NOW
            self.tell(200, {"Content-Type": MANIFEST, "Docker-Content-Digest": digest})

    def token(self) -> bytes:
        if "broken-token" in self.path:
            return b'{"token": "not\\r\\na: header"}'
        return b'{"access_token": "t0ken"}'

    def as_engine(self, image: str) -> None:
        words = {
            "lost": "Get https://lost/: dial tcp: lookup lost on 192.0.2.53: no such host",
            "unknown": "manifest unknown: manifest unknown",
            "private": "unauthorized: authentication required",
            "odd": "Get https://odd/: it is \x1b[31m odd\nvery",
            f"{self.server.host}/open:1": "toomanyrequests: You have reached it.",
            f"{self.server.host}/429:1": "toomanyrequests: You have reached it.",
        }
        if image in words:
            self.tell(500, body=json.dumps({"message": words[image]}).encode())
        else:
            self.tell(200, body=json.dumps({"Descriptor": {"digest": NOW}}).encode())

    def tell(
        self, status: int, headers: Mapping[str, str] | None = None, *, body: bytes = b""
    ) -> None:
        self.send_response_only(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
        """Say nothing."""


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without an engine; its Docker configuration."""
    for name in [name for name in os.environ if name.startswith("DOCKER_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DLC_MIRRORS", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(connection, "DEFAULT_HOST", f"unix://{tmp_path}/no.sock")
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A small matrix with one base that is over and two that are not, in a folder of its own."""
    (tmp_path / "project").mkdir()
    path = tmp_path / "project" / "matrix.yaml"
    text = SMALL.replace("2028-06-30", "2099-12-31").replace("2025-05-31", "2099-12-31")
    path.write_bytes(text.encode())
    return path


def on(registry: Registry, matrix: Path, **names: str) -> None:
    """Have bases come from repositories of the registry."""
    text = matrix.read_bytes().decode()
    for base, name in {"debian12": "open", "ubuntu18.04": "open", **names}.items():
        digest = PINNED[base.replace("_", ".")]
        text = re.sub(rf"image: \S*@{digest}", f"image: {registry.host}/{name}:1@{digest}", text)
    matrix.write_bytes(text.encode())


def bases(dlc: Dlc, matrix: Path, *arguments: str) -> Run:
    return dlc("--matrix", matrix, "bases", *arguments)


# The list


def test_list_for_people(dlc: Dlc, matrix: Path) -> None:
    run = bases(dlc, matrix, "--offline")
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines() == [
        "name         image            digest        source  end of life          resolves",
        "debian12     debian:bookworm  aaaaaaaaaaaa  -       2099-12-31           -",
        "ubuntu18.04  ubuntu:18.04     bbbbbbbbbbbb  -       2023-05-31 (passed)  -",
        "ubuntu20.04  ubuntu:20.04     cccccccccccc  -       2099-12-31           -",
    ]


def test_list_for_programs(dlc: Dlc, matrix: Path) -> None:
    run = bases(dlc, matrix, "ubuntu18.04", "--offline", "--format", "json")
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out) == [
        {
            "name": "ubuntu18.04",
            "image": "ubuntu:18.04",
            "digest": PINNED["ubuntu18.04"],
            "source": None,
            "end_of_life": "2023-05-31",
            "expired": True,
            "resolves": None,
        }
    ]


def test_base_that_no_target_uses(dlc: Dlc, matrix: Path) -> None:
    text = matrix.read_text("utf-8")
    unused = re.search(r"  debian12:\n(?:    .*\n)+", text)
    assert unused
    more = unused[0].replace("debian12", "debian13")
    matrix.write_text(text.replace("bases:\n", f"bases:\n{more}"), "utf-8")
    rows = json.loads(bases(dlc, matrix, "--offline", "--format", "json").out)
    assert [row["name"] for row in rows][:2] == ["debian13", "debian12"]


def test_what_resolves(dlc: Dlc, matrix: Path, registry: Registry) -> None:
    on(registry, matrix, **{"ubuntu18.04": "404"})
    run = bases(dlc, matrix, "debian12", "ubuntu18.04", "--format", "json")
    assert (run.code, run.err) == (0, "")
    assert [row["resolves"] for row in json.loads(run.out)] == ["yes", "no: not found"]
    assert {path.rpartition("/")[2] for path, _ in registry.asked} == {*PINNED.values()}


def test_through_a_mirror(dlc: Dlc, matrix: Path, registry: Registry) -> None:
    mirrors = matrix.with_name("mirrors.yaml")
    mirrors.write_text(f"registries: {{team.example: {registry.host}}}", "utf-8")
    text = matrix.read_text("utf-8").replace("debian:bookworm@", "team.example/open:1@")
    matrix.write_text(text, "utf-8")
    [row] = json.loads(bases(dlc, matrix, "debian12", "--format", "json").out)
    assert (row["image"], row["resolves"]) == ("team.example/open:1", "yes")
    assert bases(dlc, matrix, "--update", "debian12").code == 0
    assert matrix.read_text("utf-8") == text.replace(PINNED["debian12"], NOW)


def test_engine_that_does_not_answer(
    dlc: Dlc, matrix: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(registry, matrix)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    run = bases(dlc, matrix, "debian12")
    assert run.code == 0
    assert run.err.startswith("warning: the Docker Engine that DOCKER_HOST names does not answer")
    assert run.out.endswith("  yes\n")


@pytest.mark.parametrize("options", [[], ["--update"]])
def test_unknown_name(options: list[str], dlc: Dlc, matrix: Path) -> None:
    run = bases(dlc, matrix, "debian12", "ubunto18.04", *options)
    assert run.code == 4
    assert run.err.startswith(
        "dlc: the matrix has no base 'ubunto18.04'; did you mean 'ubuntu18.04'"
    )


def test_wrong_ways_to_ask(dlc: Dlc, matrix: Path) -> None:
    assert bases(dlc, matrix, "--offline", "--update").code == 2
    matrix.write_text(SMALL.replace("end_of_life: 20", "end_of_life: 31"), "utf-8")
    run = bases(dlc, matrix)
    assert (run.code, len(run.err.splitlines())) == (3, 3)
    matrix.unlink()
    assert bases(dlc, matrix).code == 3


# What registries answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("open", Answer(digest=NOW)),
        ("token", Answer(digest=NOW)),
        ("moved", Answer(digest=NOW)),
        ("basic", Answer(problem="authentication required")),
        ("401", Answer(problem="authentication required")),
        ("403", Answer(problem="403 forbidden")),
        ("404", Answer(problem="not found")),
        ("500", Answer(problem="500 internal server error")),
        ("777", Answer(problem="777 is not an HTTP status")),
        ("broken-token", Answer(problem="its token server gives no token")),
        (
            "file-token",
            Answer(problem="its token server 'file:///etc?for=file-token' has no https://"),
        ),
        ("garbage", Answer(problem="no answer in HTTP")),
        ("hangup", Answer(problem="the connection broke off")),
        ("page", Answer(problem="the answer is no manifest")),
        ("untold", Answer(problem="the registry tells no digest")),
    ],
)
def test_answer(name: str, answer: Answer, registry: Registry) -> None:
    reference = f"{registry.host}/{name}:1"
    assert ask([reference], None) == {reference: answer}


def test_by_digest(registry: Registry) -> None:
    wanted = [f"{registry.host}/{name}:1@{PINNED['debian12']}" for name in ("open", "untold")]
    assert set(ask(wanted, None).values()) == {Answer(digest=PINNED["debian12"])}
    assert all(path.endswith(PINNED["debian12"]) for path, _ in registry.asked)


def test_token_is_asked_for_what_the_registry_wants(registry: Registry) -> None:
    ask([f"{registry.host}/token:1"], None)
    assert registry.asked == [
        ("/v2/token/manifests/1", ""),
        ("/token?for=token&scope=pull%2Ctoken&service=us", ""),
        ("/v2/token/manifests/1", "Bearer t0ken"),
    ]


def test_credentials_of_the_docker_configuration(registry: Registry, no_engine: Path) -> None:
    auths = {registry.host: {"auth": LOGIN.removeprefix("Basic ")}}
    (no_engine / "config.json").write_text(json.dumps({"auths": auths}), "utf-8")
    wanted = [f"{registry.host}/{name}:1" for name in ("basic", "token")]
    assert set(ask(wanted, None).values()) == {Answer(digest=NOW)}
    assert ("/token?for=token&scope=pull%2Ctoken&service=us", LOGIN) in registry.asked


def test_credentials_stay_where_they_belong(registry: Registry, no_engine: Path) -> None:
    (no_engine / "config.json").write_text("not JSON", "utf-8")
    assert ask([f"{registry.host}/token:1"], None)[f"{registry.host}/token:1"].digest == NOW
    auths = {registry.host: {"auth": LOGIN.removeprefix("Basic ")}}
    (no_engine / "config.json").write_text(json.dumps({"auths": auths}), "utf-8")
    assert ask([f"{registry.host}/moved-basic:1"], None).popitem()[1].digest == NOW
    assert registry.asked[-2:] == [
        ("/v2/moved-basic/manifests/1", LOGIN),
        ("/v2/open/manifests/new", ""),
    ]


def test_hosts_that_do_not_answer(
    registry: Registry, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_digests, "SECONDS", 1)
    silent, closed = f"{registry.host}/silent:1", f"127.0.0.1:{closed_port}/x:1"
    open_ = f"{registry.host}/open:1"
    assert ask([silent, closed, open_], None) == {
        silent: Answer(problem="no answer within 1 seconds"),
        closed: Answer(problem="connection refused"),
        open_: Answer(digest=NOW),
    }


def test_what_an_engine_says(registry: Registry) -> None:
    running = Engine(host=f"tcp://{registry.host}", version="27", private=False, api="1.41")
    answers = ask(["lost", "unknown", "private", "odd", "x/y:1"], running)
    assert answers == {
        "lost": Answer(problem="no such host"),
        "unknown": Answer(problem="not found"),
        "private": Answer(problem="401 unauthorized"),
        "odd": Answer(problem="it is  [31m odd very"),
        "x/y:1": Answer(digest=NOW),
    }


def test_engine_that_may_pull_no_more(registry: Registry) -> None:
    """It reads the manifest, which counts; what asks for the digest alone does not."""
    running = Engine(host=f"tcp://{registry.host}", version="27", private=False, api="1.41")
    open_, limited = (f"{registry.host}/{name}:1" for name in ("open", "429"))
    problem = "its registry lets no more be pulled now: log in, or name a mirror"
    assert ask([open_, limited], running) == {
        open_: Answer(digest=NOW),
        limited: Answer(problem=problem),
    }
    assert ask([limited], None)[limited].problem == problem


# --update


def test_update(dlc: Dlc, matrix: Path, registry: Registry) -> None:
    on(registry, matrix, **{"ubuntu18.04": "500"})
    matrix.write_bytes(matrix.read_bytes().replace(b"\n", b"\r\n"))
    matrix.chmod(0o640)
    before = matrix.read_bytes()
    run = bases(dlc, matrix, "--update", "debian12", "ubuntu18.04")
    assert run.code == 11
    assert matrix.read_bytes() == before.replace(PINNED["debian12"].encode(), NOW.encode())
    assert matrix.stat().st_mode & 0o777 == 0o640
    assert [*matrix.parent.iterdir()] == [matrix]
    _, debian, ubuntu = run.out.splitlines()
    assert debian.endswith("  aaaaaaaaaaaa -> 111111111111")
    assert ubuntu.endswith("  not asked: 500 internal server error")
    assert run.err.startswith(f"wrote {matrix}; locks stay fresh\n")
    assert "\ndlc: 1 base of 2 could not be asked for; connect " in run.err

    run = bases(dlc, matrix, "--update", "debian12", "--format", "json")
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out) == [
        {
            "name": "debian12",
            "image": f"{registry.host}/open:1",
            "before": NOW,
            "digest": NOW,
            "problem": None,
        }
    ]
    assert bases(dlc, matrix, "--update", "debian12").out.endswith("  unchanged\n")


@pytest.fixture
def rendered(dlc: Dlc, matrix: Path, registry: Registry, small: dict[str, Target]) -> list[Path]:
    """The Dockerfiles of all targets on one base and of one on another; no registry has others."""
    on(registry, matrix)
    of = [name for name, target in small.items() if target.base.name == "ubuntu18.04"]
    assert len(of) > 1
    assert dlc("--matrix", matrix, "render", *of).code == 0
    return sorted((matrix.parent / "images").rglob("Dockerfile"))


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_base_that_has_only_a_tag_is_pinned_at_once(
    quote: str, dlc: Dlc, matrix: Path, registry: Registry
) -> None:
    text = matrix.read_text("utf-8")
    [line] = [each for each in text.splitlines() if PINNED["debian12"] in each]
    image = f"{registry.host}/open:1"
    matrix.write_text(text.replace(line, f"    image: {quote}{image}{quote} # ours"), "utf-8")
    listed = bases(dlc, matrix, "debian12", "--offline", "--format", "json")
    assert json.loads(listed.out)[0]["digest"] == ""
    refused = dlc("--matrix", str(matrix), "list")
    assert (refused.code, "run `dlc bases --update debian12`" in refused.err) == (3, True)
    run = bases(dlc, matrix, "--update", "debian12")
    assert (run.code, run.out.endswith("  none -> 111111111111\n")) == (0, True), run.err
    assert f"    image: {quote}{image}@{NOW}{quote} # ours\n" in matrix.read_text("utf-8")
    assert dlc("--matrix", str(matrix), "list").code == 0


def test_update_renders_what_is_there(rendered: list[Path], dlc: Dlc, matrix: Path) -> None:
    old = PINNED["debian12"]  # that of the tools, which all of them start from too
    before = {path: path.read_text("utf-8") for path in rendered}
    run = bases(dlc, matrix, "--update", "debian12")
    assert run.code == 0, run.err
    changed = [path for path in rendered if path.read_text("utf-8") != before[path]]
    assert changed == [path for path in rendered if old in before[path]] != []
    assert [*rendered] == sorted((matrix.parent / "images").rglob("Dockerfile"))
    for path in changed:
        assert path.read_text("utf-8") == before[path].replace(old, NOW)
        assert f"wrote {path}\n" in run.err


def test_update_writes_all_or_nothing(
    rendered: list[Path], dlc: Dlc, matrix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [matrix, *rendered]
    before = [path.read_bytes() for path in files]
    last, replace = rendered[-1].resolve(), Path.replace

    def full(path: Path, to: Path) -> Path:
        if to == last and path.name.endswith(".new"):
            raise OSError(28, "No space left on device")
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", full)
    run = bases(dlc, matrix, "--update", "debian12")
    assert (run.code, run.out) == (1, "")
    assert f"{rendered[-1].name} cannot be written: no space left on device; " in run.err
    assert [path.read_bytes() for path in files] == before
    assert [path for path in matrix.parent.rglob("*") if path.name.startswith(".")] == []


def test_update_through_a_link(dlc: Dlc, matrix: Path, registry: Registry, tmp_path: Path) -> None:
    on(registry, matrix)
    link = tmp_path / "linked.yaml"
    link.symlink_to(matrix)
    assert bases(dlc, link, "--update", "debian12").code == 0
    assert link.is_symlink()
    assert NOW in matrix.read_text("utf-8")


def test_update_of_a_base_without_a_tag(dlc: Dlc, matrix: Path, registry: Registry) -> None:
    on(registry, matrix)
    text = matrix.read_text("utf-8").replace(f"open:1@{PINNED['debian12']}", f"open@{NOW}")
    matrix.write_text(text, "utf-8")
    run = bases(dlc, matrix, "--update", "debian12")
    assert (run.code, registry.asked) == (11, [])
    assert run.out.endswith("  not asked: the matrix names no tag of it\n")
    assert matrix.read_text("utf-8") == text


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param('"{}\\x61"', id="escaped"),
        pytest.param(">- # {}a\n      {}a", id="in a comment first"),
    ],
)
def test_update_of_what_is_written_in_another_way(
    layout: str, dlc: Dlc, matrix: Path, registry: Registry
) -> None:
    on(registry, matrix)
    image = f"{registry.host}/open:1@{PINNED['debian12']}"
    text = matrix.read_text("utf-8").replace(image, layout.replace("{}", image[:-1]))
    matrix.write_text(text, "utf-8")
    run = bases(dlc, matrix, "--update", "debian12")
    assert (run.code, run.out) == (11, "")
    where = re.escape(f"dlc: {matrix}:")
    message = "debian12 cannot be updated as its image is written; write it on one line, like "
    assert re.match(rf"{where}\d+:12: {message}.*; nothing was written\n$", run.err)
    assert matrix.read_text("utf-8") == text
    assert [*matrix.parent.iterdir()] == [matrix]


def parsed(text: str, folder: Path) -> Matrix:
    path = folder / "parsed.yaml"
    path.write_bytes(text.encode())
    report = Report()
    found = read(path, report, name="matrix.yaml")
    assert found is not None
    assert report.problems == []
    return found


@given(
    digests=st.dictionaries(
        st.sampled_from(["debian12", "ubuntu18.04", "ubuntu20.04"]),
        st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format),
    ),
    layout=st.sampled_from(["image: {}", 'image: "{}"', "image: '{}'", "image:\n      {}"]),
    same=st.booleans(),
    mark=st.sampled_from(["", "\ufeff"]),
    ends=st.sampled_from(["\n", "\r\n"]),
    comment=st.sampled_from(["", "# one\u2028# two\x85# three\n", "# sha256:" + "a" * 64 + "\n"]),
)
def test_any_layout(
    tmp_path_factory: pytest.TempPathFactory,
    digests: dict[str, str],
    layout: str,
    same: bool,
    mark: str,
    ends: str,
    comment: str,
) -> None:
    text = comment + SMALL.replace("b" * 64, "a" * 64 if same else "b" * 64)
    text = re.sub(r"image: (\S+)", lambda match: layout.format(match[1]), text)
    text = mark + text.replace("\n", ends)
    folder = tmp_path_factory.getbasetemp()
    before = parsed(text, folder)
    edited = MatrixText(text, "m")
    for name, digest in digests.items():
        edited = edited.pin_base(name, pinned_digest(before.bases[name]), digest)
    changed = edited.text
    after = parsed(changed, folder)
    for name, base in after.bases.items():
        old = before.bases[name].image
        assert base.image == (
            f"{old.partition('@')[0]}@{digests[name]}" if name in digests else old
        )
    # But for the pins of what was asked for, the text is the same.
    pin = re.compile("@sha256:[0-9a-f]{64}")
    assert pin.split(changed) == pin.split(text)


# End of life


@pytest.mark.parametrize(
    ("day", "over"),
    [
        ("2023-05-31", set()),
        ("2023-06-01", {"ubuntu18.04"}),
        ("2025-06-01", {"ubuntu18.04", "ubuntu20.04"}),
    ],
)
def test_the_day_itself_is_not_over(day: str, over: set[str], small: dict[str, Target]) -> None:
    found = expired(small.values(), datetime.date.fromisoformat(day))
    assert {each.base.name for each in found} == over
    for each in found:
        assert each.targets == tuple(t for t in small.values() if t.base.name == each.base.name)


def test_build_warns_once_for_each_base(dlc: Dlc, matrix: Path) -> None:
    warning = "warning: ubuntu18.04 reached its end of life on 2023-05-31"
    for selector, expected in (
        ("*-ubuntu18.04", [f"{warning} (5 targets)"]),
        ("*-neuron-*", [f"{warning} (1 target)"]),
        ("*-ubuntu20.04", []),
    ):
        run = dlc("--matrix", matrix, "build", selector)
        assert run.code == BuildError.exit_code  # without locks, and so without an engine
        assert [line for line in run.err.splitlines() if "end of life" in line] == expected
        assert not expected or run.err.startswith(warning)


@pytest.mark.parametrize("options", [["--all"], ["--dry-run"]])
def test_strict_builds_nothing(
    options: list[str], dlc: Dlc, matrix: Path, small: dict[str, Target]
) -> None:
    matrix.write_bytes(SMALL.encode())
    run = dlc("--matrix", matrix, "build", "--strict", *options)
    assert (run.code, run.out) == (BaseImageError.exit_code, "")
    assert [*matrix.parent.iterdir()] == [matrix]
    first, second = run.err.splitlines()
    assert first.startswith("dlc: ubuntu18.04 reached its end of life on 2023-05-31: huggingface-")
    assert second.startswith("ubuntu20.04 reached its end of life on 2025-05-31: huggingface-")
    assert second.endswith("; select targets on other bases, or build without --strict")
    for name, target in small.items():
        assert name in (first if target.base.name == "ubuntu18.04" else second)


def test_strict_lets_others_pass(dlc: Dlc, matrix: Path) -> None:
    run = dlc("--matrix", matrix, "build", "--strict", "--dry-run", "*-ubuntu20.04")
    assert (run.code, run.err) == (0, "")
