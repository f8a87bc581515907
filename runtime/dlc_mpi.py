"""Makes the hosts of a training job ready for Open MPI, then goes on as dockerd-entrypoint.py.

Open MPI starts its processes through SSH, so the hosts of a job need a key that they share, and
nobody gives them one. Each makes it from what all of them are told: the job's ARN, its name and its
hosts. So no image has a key in it, and no two jobs have the same. Who knows a job's ARN can make
its key as well, but only the job's own network leads to its hosts. Where neither ARN nor name is
told, there is no key.

It runs in the image, on the image's Python.
"""

import hashlib
import json
import os
import subprocess
import sys

ENTRYPOINT = "/usr/local/bin/dockerd-entrypoint.py"
RESOURCES = "/opt/ml/input/config/resourceconfig.json"
# Without it sshd does not start.
RUN = "/run/sshd"
# What SageMaker tells every host of a job alike.
TOLD = ("TRAINING_JOB_ARN", "TRAINING_JOB_NAME")


def hosts(path=RESOURCES):
    """The hosts of the job, sorted; none where nothing says so."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return []
    named = found.get("hosts") if isinstance(found, dict) else None
    return sorted(map(str, named)) if isinstance(named, list) else []


def seed(names, environment):
    """32 bytes that are the same on all hosts of a job; None where nothing tells it from others."""
    said = {name: environment.get(name, "") for name in TOLD}
    if not any(said.values()):
        return None  # all jobs have the same host names: anybody could make their key
    return hashlib.sha256(json.dumps([said, names], sort_keys=True).encode()).digest()


def has_key(folder):
    """Whether a folder has a private key, of whatever kind, by one of ssh's own names."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return any(name.startswith("id_") and not name.endswith(".pub") for name in names)


def write_key(folder, secret):
    """Write the key of a seed into a folder, as ssh and sshd look for it; a config stays."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    os.makedirs(folder, mode=0o700, exist_ok=True)
    files = {
        "id_ed25519": private,
        "id_ed25519.pub": public + b"\n",
        # Hosts make their own keys at the start, which nobody knows beforehand.
        "config": b"Host *\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n"
        b"    LogLevel ERROR\n",
    }
    for name, content in files.items():
        path = os.path.join(folder, name)
        if name == "config" and os.path.lexists(path):
            continue
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    with open(os.path.join(folder, "authorized_keys"), "ab") as file:
        file.write(public + b"\n")
    os.chmod(os.path.join(folder, "authorized_keys"), 0o600)


def prepare():
    """Write the job's key and this host's own keys; a user's own key is left alone."""
    names, folder = hosts(), os.path.expanduser("~/.ssh")
    if len(names) < 2:
        return
    if not has_key(folder):
        secret = seed(names, os.environ)
        if secret:
            write_key(folder, secret)
        else:
            print(
                "dlc: no key for SSH is made, since neither %s is set and anybody could make it: "
                "Open MPI reaches the other hosts only with a key of your own in %s"
                % (" nor ".join(TOLD), folder),
                file=sys.stderr,
            )
    subprocess.run(["ssh-keygen", "-A"], stdout=subprocess.DEVNULL, check=True)
    os.makedirs(RUN, mode=0o755, exist_ok=True)


def main():
    """Prepare for `train`, then become the entrypoint, so that signals reach it."""
    if sys.argv[1:2] == ["train"]:
        try:
            prepare()
        except Exception as error:  # a job that does not use MPI goes on without
            print("dlc: this host is not ready for MPI: %s" % error, file=sys.stderr)
    os.execv(sys.executable, [sys.executable, ENTRYPOINT] + sys.argv[1:])  # noqa: S606


if __name__ == "__main__":
    main()
