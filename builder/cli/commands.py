"""All commands: the module that has each, and its line in `dlc --help`, by what one wants to do.

Only the module of the command that runs is imported, so the lines stand here.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["GROUPS", "MODULES"]

# A line is a verb phrase of at most 64 characters: with the name it fits into 80 columns.
GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Look": {
        "list": ("matrix", "List targets."),
        "show": ("matrix", "Show everything that is known of a target."),
        "plan": ("plan", "Show which images would be built, and why."),
        "uri": ("matrix", "Print the image URI of a target."),
        "outdated": ("add", "List packages that are newer than those of the matrix."),
        "bases": ("bases", "List base images, and update their digests."),
        "size": ("size", "Show the size of built images against their budgets."),
        "layers": ("layers", "Show which layers images share."),
        "inventory": ("inventory", "List every package in a built image, or write its SBOM."),
        "diff": ("diff", "Show what differs between two images, or their locks."),
        "audit": ("audit", "List known vulnerabilities of images or locks."),
        "libraries": ("libraries", "Show the shared libraries that an image needs and has."),
        "table": ("table", "Print a page of all images."),
        "site": ("site", "Write a static site of all images."),
    },
    "Change the matrix": {
        "add": ("add", "Add a release: write, lock and render it."),
        "patch": ("patch", "Upgrade what has known vulnerabilities."),
        "lock": ("locks", "Lock requirements by hash, or upgrade a package."),
        "render": ("render", "Write Dockerfiles and the files that they copy."),
    },
    "Build and test": {
        "build": ("build", "Render, build and tag images."),
        "test": ("contract", "Test a built image against its contract."),
        "smoke": ("serve", "Start an inference image, send one request, stop it."),
        "serve": ("serve", "Run an inference image as SageMaker would, until Ctrl-C."),
        "bake": ("bake", "Write a bake file for docker buildx, to build without dlc."),
    },
    "Publish": {
        "release": ("release", "Build, test and push what a registry lacks."),
        "push": ("push", "Push images to a registry, with all tags of a release."),
        "verify": ("verify", "Verify that images in a registry are signed."),
        "releases": ("releases", "Show what was pushed, by day, or merge records of it."),
        "ecr": ("ecr", "Plan and create repositories in Amazon ECR."),
        "sdk-config": ("sdk_config", "Write image URI configuration for the SageMaker SDK."),
    },
    "Automate": {
        "ci-matrix": ("ci", "Print the job matrix for GitHub Actions."),
    },
    "Set up": {
        "init": ("init", "Create a repository to start from."),
        "engine": ("engine", "Find a Docker Engine; start, stop or prune a private one."),
        "mirrors": ("mirrors", "Print the mirrors of a site as builds get them."),
        "schema": ("matrix", "Print the JSON schema of the matrix, for editors."),
        "completion": ("completion", "Print shell completion for bash, zsh or fish."),
        "help": ("completion", "Show the help of a command."),
    },
}
MODULES = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}
