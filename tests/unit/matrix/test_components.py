"""Components: what a row may name, what it renders to, and what refuses to be built."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from builder.build.plan import Inputs, inputs
from builder.dockerfile.render import Renderer, apply, changes
from builder.errors import LockError, TagError
from builder.locks import freshness, lockfile
from builder.locks.committed import Committed
from builder.locks.lockfile import Lock
from builder.locks.resolve import Resolver
from builder.matrix.components import KINDS
from builder.matrix.tags import parse_repository
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.values import COMPONENTS
from builder.matrix.yaml_nodes import Text
from tests.conftest import GOLDEN, ROOT, Dlc
from tests.unit.locks.test_resolve import empty_wheel, only, unreached

HERE = GOLDEN / "components"
MATRIX = (HERE / "matrix.yaml").read_text("utf-8")
PYTORCH = "huggingface-pytorch-training:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
TENSORFLOW = "huggingface-tensorflow-training:2.5.1-transformers4.12.3-gpu-py37-cu112-ubuntu18.04"
COMPILER = "huggingface-pytorch-trcomp-training:1.9.1-transformers4.17.0-gpu-py38-cu111-ubuntu20.04"
CPU = "huggingface-pytorch-training:2.13.0-transformers4.57.1-cpu-py311-debian12"


def read(text: str, folder: Path) -> dict[str, Target]:
    """The targets of a matrix's text, by name."""
    path = folder / "matrix.yaml"
    path.write_text(text, "utf-8")
    return {target.name: target for target in load_targets(path, name="m")}


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Target]:
    """The targets of the matrix of components."""
    return read(MATRIX, tmp_path)


def dockerfile(target: Target) -> str:
    return Renderer().files(target)["Dockerfile"].decode()


# What it renders to


@pytest.mark.parametrize("name", [PYTORCH, TENSORFLOW, COMPILER])
def test_golden(name: str, rows: dict[str, Target], request: pytest.FixtureRequest) -> None:
    path = HERE / rows[name].folder / "Dockerfile"
    text = dockerfile(rows[name])
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8"), "if it should differ, run pytest --update-golden"


def test_every_kind_is_in_one_of_them(rows: dict[str, Target]) -> None:
    """So that hadolint, which `make lint` runs on what they render to, sees every kind."""
    golden = [rows[name] for name in (PYTORCH, TENSORFLOW, COMPILER)]
    assert {each.kind for row in golden for each in row.components} == set(KINDS)


def test_every_kind_is_known() -> None:
    assert tuple(KINDS) == COMPONENTS


def test_no_row_of_ours_names_one(targets: tuple[Target, ...]) -> None:
    """So that all there is to prove of them is said in docs/components.md."""
    assert not any(target.components for target in targets)
    assert not any("dlc.components" in target.labels() for target in targets)


def test_they_come_in_one_order(rows: dict[str, Target]) -> None:
    """Whatever the order in which a row names them."""
    kinds = [component.kind for component in rows[PYTORCH].components]
    assert kinds == [kind for kind in COMPONENTS if kind in kinds]
    lines = dockerfile(rows[PYTORCH]).splitlines()
    stages = [line.split()[-1] for line in lines if line.startswith("FROM") and " AS " in line]
    python = ["mpi4py", "horovod", "smdistributed-dataparallel", "smdistributed-modelparallel"]
    built = ["tools", "wheelhouse", "keyring", "programs", "efa", "openmpi"]
    fetched = ["framework-wheels", "libraries-wheels"]
    assert stages == [*built, "python", *fetched, "framework", *python]
    taken = [line for line in lines if line.startswith("RUN --mount=type=bind,from=")]
    assert [
        line
        for line in taken
        if any(f"from={kind}," in line for kind in ("openmpi", *python)) and "/opt" in line
    ] == [
        "RUN --mount=type=bind,from=openmpi,source=/opt/amazon,target=/mnt \\",
        *(f"RUN --mount=type=bind,from={kind},source=/opt,target=/mnt \\" for kind in python),
    ]


def test_framework_layers_are_those_of_a_row_without(rows: dict[str, Target]) -> None:
    """What is below the components is shared with images that have none."""
    row = rows[PYTORCH]
    bare = dockerfile(dataclasses.replace(row, components=()))
    below = bare[bare.index("FROM python\n") + 12 : bare.index("# The compiler stays")]
    assert below in dockerfile(row)
    assert "openmpi" not in bare


def test_a_source_is_a_mirrors_to_replace(rows: dict[str, Target]) -> None:
    text = dockerfile(rows[CPU])
    assert '"${FILES:-https://files.example}/v4.1/openmpi-4.1.1.tar.bz2"' in text
    assert f'wanted="{"f" * 64}";' in text


def test_what_a_folder_holds(rows: dict[str, Target], tmp_path: Path) -> None:
    """What components bring, and not what an earlier rendering left of one that is gone."""
    images = tmp_path / "images"
    apply(changes(images, rows.values(), Renderer(), prune=True))

    def names(target: Target) -> set[str]:
        return {path.name for path in (images / target.folder).iterdir()}

    always = {"Dockerfile", "compile.py", "dockerd-entrypoint.py", "fetch.sh", "install.sh"}
    always |= {"dlc_process.py", "dlc_train.py"}
    old = always | {"follow_redirects.py"}
    assert names(rows[PYTORCH]) == old | {"component.sh", "dlc_mpi.py"}
    assert names(rows[COMPILER]) == old
    assert names(rows[CPU]) == always | {"dlc_mpi.py"}
    folder = images / rows[PYTORCH].folder
    for name in ("horovod.lock", "mpi4py.lock", "notes.lock"):
        (folder / name).write_text("a lock\n")
    fewer = dataclasses.replace(rows[PYTORCH], components=rows[PYTORCH].components[:3])
    apply(changes(images, [fewer], Renderer(), prune=False))
    assert [each.kind for each in fewer.components] == ["efa", "openmpi", "mpi4py"]
    kept = {"component.sh", "dlc_mpi.py", "mpi4py.lock", "notes.lock"}
    assert names(fewer) == old | kept


def test_horovod_is_built_against_the_framework(rows: dict[str, Target]) -> None:
    pytorch, tensorflow = dockerfile(rows[PYTORCH]), dockerfile(rows[TENSORFLOW])
    assert "HOROVOD_WITH_PYTORCH=1" in pytorch
    assert "HOROVOD_WITHOUT_TENSORFLOW=1" in pytorch
    assert "HOROVOD_WITH_TENSORFLOW=1" in tensorflow
    assert "HOROVOD_WITHOUT_PYTORCH=1" in tensorflow
    assert "HOROVOD_CUDA_HOME=/usr/local/cuda-11.2" in tensorflow
    assert "libnccl-dev=2.8.4-1+cuda11.2" in tensorflow
    assert "HOROVOD" not in dockerfile(rows[CPU])
    assert rows[PYTORCH].build_requirements == ("setuptools", "wheel", "packaging")


def test_the_training_compiler_is_a_build_of_its_own(rows: dict[str, Target]) -> None:
    row = rows[COMPILER]
    assert row.repository == "huggingface-pytorch-trcomp-training"
    assert [wheel.filename.split("-")[0] for wheel in row.build.wheels] == ["torch", "torch_xla"]
    assert freshness.layers(row) == freshness.LAYERS
    assert "libomp5" in dockerfile(row)
    assert str(parse_repository(row.repository)) == row.repository
    for name in ("huggingface-pytorch-trcomp-inference", f"{row.repository}-neuron"):
        with pytest.raises(TagError):
            parse_repository(name)


# Labels, keys and `dlc show`


def test_labels(rows: dict[str, Target]) -> None:
    assert rows[CPU].labels()["dlc.components"] == "openmpi=4.1.1"
    assert rows[TENSORFLOW].labels()["dlc.components"] == (
        "efa=1.12.1 openmpi=4.1.1 horovod=0.26.1 smdistributed-dataparallel=1.2.1"
    )


def write_locks(target: Target, images: Path) -> None:
    """Fresh locks of a target, without a requirement in them."""
    made: dict[str, Lock] = {}
    for layer in freshness.layers(target):
        below = freshness.under(layer, target, {name: lock.text() for name, lock in made.items()})
        inputs = freshness.inputs_digest(layer, target, below)
        python, date = freshness.origin(layer, target)
        made[layer] = Lock(layer=layer, python=python, date=date, inputs=inputs, entries={})
    lockfile.write(images / target.folder, list(made.values()))


def made_of(target: Target, images: Path) -> Inputs:
    write_locks(target, images)
    return inputs(target, images, Renderer())


def test_the_build_key_knows_them(rows: dict[str, Target], tmp_path: Path) -> None:
    row = rows[CPU]
    now = made_of(row, tmp_path)
    assert now.digests["components"] == hashlib.sha256(b"openmpi-4.1.1").hexdigest()
    assert {"dlc_mpi.py", "Dockerfile"} < now.files.keys()
    [component] = row.components
    other = dataclasses.replace(component, sha256="0" * 64)
    assert made_of(dataclasses.replace(row, components=(other,)), tmp_path).key != now.key
    bare = made_of(dataclasses.replace(row, components=()), tmp_path)
    assert bare.key != now.key
    assert "components" not in bare.digests


def test_show(dlc: Dlc) -> None:
    run = dlc("--matrix", HERE / "matrix.yaml", "show", PYTORCH, "--format", "json")
    shown = json.loads(run.out)
    assert shown["values"]["components"] == [
        "efa-1.12.1 ${FILES}/aws-efa-installer-1.12.1.tar.gz (no SHA-256 known)",
        f"openmpi-4.1.1 ${{FILES}}/v4.1/openmpi-4.1.1.tar.bz2 sha256:{'f' * 64}",
        "mpi4py-3.0.3 mpi4py==3.0.3",
        "horovod-0.26.1 horovod==0.26.1",
        "data-pytorch ${SMD_WHEELS}/pt/smdistributed_dataparallel-1.2.0-cp38-cp38-linux_x86_64.whl"
        " (no SHA-256 known)",
        "model-pytorch ${SMD_WHEELS}/pt/"
        "smdistributed_modelparallel-1.4.0-cp38-cp38-linux_x86_64.whl (no SHA-256 known)",
    ]
    line = 1 + MATRIX[: MATRIX.index("components: [model-pytorch")].count("\n")
    assert shown["defined_at"]["components"].endswith(f"matrix.yaml:{line}")


# Locks


def test_locks_are_of_what_they_stand_on(rows: dict[str, Target], tmp_path: Path) -> None:
    row, folder = rows[TENSORFLOW], tmp_path / rows[TENSORFLOW].folder
    kinds = ("horovod", "smdistributed-dataparallel")
    assert freshness.layers(row) == ("build", "framework", *kinds, "libraries", "tools")
    assert freshness.state(folder, row).text == "missing"
    write_locks(row, tmp_path)
    assert freshness.state(folder, row).text == "fresh"
    path = folder / "horovod.lock"
    path.write_text(path.read_text("utf-8").replace(" as of ", " as  of "), "utf-8")
    changed = "horovod.lock not a lock, smdistributed-dataparallel.lock stale, libraries.lock stale"
    assert freshness.state(folder, row).text == changed
    path.unlink()
    assert freshness.state(folder, row).stale["horovod"] == "missing"


def test_other_requirements_make_a_lock_stale(rows: dict[str, Target], tmp_path: Path) -> None:
    row, folder = rows[TENSORFLOW], tmp_path / rows[TENSORFLOW].folder
    write_locks(row, tmp_path)
    [horovod] = (each for each in row.components if each.kind == "horovod")
    requires = Text("horovod==0.28.1", horovod.requires[0].at)
    newer = dataclasses.replace(horovod, requires=(requires,))
    components = tuple(newer if each is horovod else each for each in row.components)
    state = freshness.state(folder, dataclasses.replace(row, components=components))
    assert state.text == "horovod.lock stale"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of empty wheels, which is index and wheelhouse at once."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    empty_wheel(folder, "tensorflow", "2.5.1", "six")
    empty_wheel(folder, "torch", "1.9.1+cu111", tag="cp38-cp38-linux_x86_64")
    empty_wheel(folder, "transformers", "4.12.3", "psutil", "cloudpickle", "filelock")
    empty_wheel(folder, "horovod", "0.26.1", "psutil", "six")
    for kind, tag in (("data", "cp38-cp38"), ("model", "cp38-cp38")):
        name = f"smdistributed-{kind}parallel"
        empty_wheel(
            folder, name, {"data": "1.2.0", "model": "1.4.0"}[kind], tag=f"{tag}-linux_x86_64"
        )
    empty_wheel(folder, "smdistributed-dataparallel", "1.2.1", tag="cp37-cp37m-linux_x86_64")
    plain = {"datasets": "1.15.1", "mpi4py": "3.0.3", "uv": "0.13.8", "six": "1.16.0"}
    plain |= dict.fromkeys(("setuptools", "wheel", "packaging", "typing-extensions"), "1.0")
    plain |= dict.fromkeys(("psutil", "filelock"), "2.0") | {"cloudpickle": "3.0"}
    for name, version in plain.items():
        empty_wheel(folder, name, version)
    cache = tmp_path / "cache"
    only(
        monkeypatch,
        **dict.fromkeys(("UV_FIND_LINKS", "DLC_WHEELHOUSE"), folder),
        UV_CACHE_DIR=cache,
        UV_OFFLINE="1",
    )
    return folder


def lock(name: str, text: str, folder: Path) -> tuple[Target, dict[str, set[str]]]:
    """A row locked, and the names that each of its locks has."""
    row = read(text, folder)[name]
    lockfile.write(folder / row.folder, Resolver().lock(row))
    found = {
        layer: set(lockfile.entries(folder / row.folder, layer)) for layer in freshness.layers(row)
    }
    return row, found


def hashed(fake: str, wheel: Path) -> str:
    """The matrix with the hash that a wheel really has, instead of one of a single digit."""
    return MATRIX.replace(fake * 64, hashlib.sha256(wheel.read_bytes()).hexdigest())


@pytest.mark.integration
def test_each_lock_has_what_those_below_have_not(shelf: Path, tmp_path: Path) -> None:
    [wheel] = shelf.glob("smdistributed_dataparallel-1.2.1-*")
    row, found = lock(TENSORFLOW, hashed("1", wheel), tmp_path)
    assert found == {
        "build": {"setuptools", "wheel", "packaging"},
        "framework": {"tensorflow", "six"},
        "horovod": {"horovod", "psutil"},
        "smdistributed-dataparallel": {"smdistributed-dataparallel"},
        "libraries": {"transformers", "datasets", "cloudpickle", "filelock"},
        "tools": {"uv"},
    }
    assert freshness.state(tmp_path / row.folder, row).text == "fresh"
    [efa] = (each for each in row.components if each.kind == "efa")
    known = tuple(
        dataclasses.replace(efa, sha256="0" * 64) if each is efa else each
        for each in row.components
    )
    made = inputs(dataclasses.replace(row, components=known), tmp_path, Renderer())
    assert {"horovod.lock", "smdistributed-dataparallel.lock"} < made.files.keys()


@pytest.mark.integration
def test_a_wheel_without_a_hash_is_locked_once_it_is_there(shelf: Path, tmp_path: Path) -> None:
    """Until then its lock says what could not be reached; what was held then stays."""
    [torch] = shelf.glob("torch-*")
    text = hashed("d", torch)
    away = tmp_path / "away"
    away.mkdir()
    for path in shelf.glob("smdistributed_*"):
        path.rename(away / path.name)
    row, found = lock(PYTORCH, text, tmp_path)
    assert found["smdistributed-modelparallel"] == {"smdistributed-modelparallel"}
    assert freshness.state(tmp_path / row.folder, row).unhashed == {
        f"smdistributed-{kind}parallel": unreached("SMD_WHEELS") for kind in ("data", "model")
    }
    for path in away.iterdir():
        path.rename(shelf / path.name)
    lock(PYTORCH, text, tmp_path)
    assert freshness.state(tmp_path / row.folder, row).unhashed == {}
    for path in shelf.glob("smdistributed_*"):
        path.unlink()
    for refresh in (False, True):
        resolver = Resolver(committed=Committed(tmp_path, [row]), refresh=refresh)
        lockfile.write(tmp_path / row.folder, resolver.lock(row))
    assert freshness.state(tmp_path / row.folder, row).unhashed == {}


# What cannot be built


def place(text: str) -> str:
    """The line and the column of a word of the matrix, spaces before it apart."""
    before = MATRIX[: MATRIX.index(text) + len(text) - len(text.lstrip())]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def test_nothing_is_built_without_a_hash(rows: dict[str, Target], tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        inputs(rows[PYTORCH], tmp_path, Renderer())
    assert str(caught.value) == (
        f"{PYTORCH} cannot be built from hashes alone: "
        f"efa-1.12.1 (no sha256 at m:{place('  efa-1.12.1:')}); "
        "add it to the matrix, from the file itself or from who publishes it"
    )
    assert "no SHA-256 of aws-efa-installer-1.12.1.tar.gz is known" in dockerfile(rows[PYTORCH])


def test_all_that_has_no_hash_is_said_at_once(rows: dict[str, Target], tmp_path: Path) -> None:
    write_locks(rows[PYTORCH], tmp_path)
    lock = tmp_path / rows[PYTORCH].folder / "smdistributed-dataparallel.lock"
    package = "smdistributed-dataparallel"
    lines = f"# No SHA-256: it is away\n{package} @ there\n# No SHA-256: it is, too\nsmd @ there\n"
    lock.write_text(lock.read_text("utf-8") + lines, "utf-8")
    with pytest.raises(LockError) as caught:
        inputs(rows[PYTORCH], tmp_path, Renderer())
    assert caught.value.message.endswith(
        f" alone: efa-1.12.1 (no sha256 at m:{place('  efa-1.12.1:')}); "
        f"{package} (it is away; m:{place('${SMD_WHEELS}/pt/smdistributed_data')}); "
        "smd (it is, too)"
    )


# Hosts of a job


@pytest.fixture
def mpi() -> ModuleType:
    """runtime/dlc_mpi.py, as a module."""
    path = ROOT / "runtime" / "dlc_mpi.py"
    spec = importlib.util.spec_from_file_location("dlc_mpi", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hosts_of_a_job_make_the_same_key(mpi: ModuleType) -> None:
    told = {"TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:1:training-job/a", "HOSTNAME": "x"}
    seed = mpi.seed(["algo-1", "algo-2"], told)
    assert len(seed) == 32
    assert mpi.seed(["algo-1", "algo-2"], {**told, "HOSTNAME": "y"}) == seed
    others = [({**told, "TRAINING_JOB_ARN": "b"}, ["algo-1", "algo-2"]), (told, ["algo-1"])]
    assert all(mpi.seed(hosts, environment) != seed for environment, hosts in others)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ('{"hosts": ["algo-2", "algo-1"], "current_host": "algo-2"}', ["algo-1", "algo-2"]),
        ('{"hosts": "algo-1"}', []),
        ("[]", []),
        ("{", []),
        (None, []),
    ],
)
def test_hosts_are_read(
    text: str | None, hosts: list[str], mpi: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "resourceconfig.json"
    if text is not None:
        path.write_text(text, "utf-8")
    assert mpi.hosts(path) == hosts


@pytest.mark.integration
def test_keys_are_as_ssh_wants_them(mpi: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    folder = tmp_path / "ssh"
    mpi.write_key(str(folder), bytes(range(32)))
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == dict.fromkeys(modes, 0o600)
    public = (folder / "id_ed25519.pub").read_text()
    assert public == (folder / "authorized_keys").read_text()
    if shutil.which("ssh-keygen"):
        command = ["ssh-keygen", "-y", "-f", str(folder / "id_ed25519")]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == public
    again = tmp_path / "again"
    mpi.write_key(str(again), bytes(range(32)))
    assert (again / "id_ed25519.pub").read_text() == public


@pytest.fixture
def many_hosts(mpi: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of a job on two that has a name; the folder of its keys, which is not there yet."""
    monkeypatch.setattr(mpi, "hosts", lambda: ["algo-1", "algo-2"])
    # The machine that runs the tests gets neither host keys nor a folder for sshd.
    monkeypatch.setattr(mpi.subprocess, "run", lambda command, **_: command)
    monkeypatch.setattr(mpi, "RUN", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRAINING_JOB_NAME", "a-job")
    monkeypatch.delenv("TRAINING_JOB_ARN", raising=False)
    return tmp_path / ".ssh"


def test_no_key_that_anybody_can_make(
    mpi: ModuleType,
    many_hosts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All jobs have hosts of the same names: without more there is no key, and the log says so."""
    for name in mpi.TOLD:
        monkeypatch.setenv(name, "")
    assert mpi.seed(["algo-1", "algo-2"], {}) is None
    mpi.prepare()
    assert not many_hosts.exists()
    assert "neither TRAINING_JOB_ARN nor TRAINING_JOB_NAME is set" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["id_rsa", "id_ecdsa", "id_ed25519_sk", "id_xmss"])
def test_a_key_of_the_users_own_stays(
    mpi: ModuleType, many_hosts: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    many_hosts.mkdir()
    own = {name: "key", f"{name}.pub": "public", "config": "Host *\n"}
    for file, content in own.items():
        (many_hosts / file).write_text(content)
    mpi.prepare()
    assert {path.name: path.read_text() for path in many_hosts.iterdir()} == own
    assert capsys.readouterr().err == ""


def test_a_config_of_the_users_own_stays(mpi: ModuleType, many_hosts: Path) -> None:
    """Without a private key the job's is written beside it."""
    pytest.importorskip("cryptography")
    many_hosts.mkdir()
    (many_hosts / "config").write_text("Host *\n")
    (many_hosts / "id_rsa.pub").write_text("somebody's public key\n")
    mpi.prepare()
    assert (many_hosts / "config").read_text() == "Host *\n"
    assert (many_hosts / "id_ed25519").is_file()


def test_other_commands_go_on_untouched(mpi: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes the entrypoint with the same arguments, and prepares for `train` only."""
    became: list[list[str]] = []
    prepared: list[str] = []
    monkeypatch.setattr(mpi.os, "execv", lambda _, arguments: became.append(arguments))
    monkeypatch.setattr(mpi, "prepare", lambda: prepared.append(sys.argv[1]))
    for arguments in (["python", "-c", "1"], ["train"], []):
        monkeypatch.setattr(sys, "argv", ["dlc_mpi.py", *arguments])
        mpi.main()
        assert became[-1] == [sys.executable, mpi.ENTRYPOINT, *arguments]
    assert prepared == ["train"]


def test_a_host_that_cannot_be_prepared_goes_on(
    mpi: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare() -> None:
        raise OSError("no room")

    became: list[list[str]] = []
    monkeypatch.setattr(mpi.os, "execv", lambda _, arguments: became.append(arguments))
    monkeypatch.setattr(mpi, "prepare", prepare)
    monkeypatch.setattr(sys, "argv", ["dlc_mpi.py", "train"])
    mpi.main()
    assert became
    assert capsys.readouterr().err == "dlc: this host is not ready for MPI: no room\n"
