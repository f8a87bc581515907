"""The plan of targets compared with the engine's images, a registry's, or those of a commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.build.plan import Planned
from builder.build.plan import plan as plan_targets
from builder.dockerfile.render import Renderer
from builder.matrix.target import Target

__all__ = ["Comparison"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What a plan compares, and with what: without `since` and `registry`, the engine's images."""

    matrix: Path
    images: Path
    templates: Path | None
    since: str | None = None
    registry: str | None = None

    def plan(self, targets: Sequence[Target]) -> list[Planned]:
        """The plan of targets; with both commit and registry, either's image will do."""
        renderer = Renderer(self.templates)
        if not self.since and not self.registry:
            from builder.build.identity import derived_here
            from builder.engine.images import images_here

            return plan_targets(targets, self.images, renderer, images_here(), derived_here)
        planned: list[Planned] = []
        if self.since:
            from builder.build.git_ref import built_at

            before = built_at(self.since, self.matrix, self.images, self.templates)
            planned = plan_targets(targets, self.images, renderer, before)
        if self.registry:
            from builder.build.identity import derived_there
            from builder.registry.images import images_in

            rest = [each.target for each in planned if each.inputs and not each.up_to_date]
            rest = rest if self.since else list(targets)
            found = images_in(self.registry, rest)
            there = plan_targets(rest, self.images, renderer, found, derived_there)
            by_name = {each.target.name: each for each in [*planned, *there]}
            planned = [by_name[target.name] for target in targets]
        return planned
