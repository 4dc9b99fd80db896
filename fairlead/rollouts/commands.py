"""What each command of a person writes: pure functions from the Rollout as read to the patches to send.

Argo Rollouts' clients write exactly these fields, and the machine takes them as commands wherever they come from:
`spec.paused`, `spec.restartAt`, `status.abort`, `status.promoteFull`, `status.pauseConditions`,
`status.controllerPause`, `status.currentStepIndex`.

Source: argo-rollouts: pkg/kubectl-argo-rollouts/cmd/{promote,abort,retry,pause,restart,undo,set}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairlead.core.cluster import JsonPatch, MergePatch, Patch
from fairlead.core.errors import SpecError
from fairlead.core.objects import Manifest, rfc3339

REVISION = "rollout.argoproj.io/revision"
HASH_LABEL = "rollouts-pod-template-hash"
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class Command:
    """One patch: on the status subresource, or (empty) on the main object."""

    subresource: str
    patch: Patch


def _spec(body: Mapping[str, Any]) -> Command:
    return Command("", MergePatch({"spec": dict(body)}))


def _status(body: Mapping[str, Any]) -> Command:
    return Command("status", MergePatch({"status": dict(body)}))


def promote(rollout: Mapping[str, Any], *, full: bool = False) -> tuple[Command, ...]:
    """Return the patches that take a Rollout past its pause or step, or (`full`) past all steps and analysis.

    The status comes before the spec: nothing may happen between the end of a manual pause and what else was meant.

    Args:
        rollout: the object as JSON data.
        full: skip everything that is left. Nothing is written when the new revision is stable already.
    """
    spec, status = _mapping(rollout.get("spec")), _mapping(rollout.get("status"))
    canary = _mapping(_mapping(spec.get("strategy")).get("canary"))
    resume = (_spec({"paused": False}),) if spec.get("paused") else ()
    if full:
        done = status.get("currentPodHash") == status.get("stableRS")
        return resume if done else (_status({"promoteFull": True}), *resume)
    pauses = status.get("pauseConditions")
    body: dict[str, Any] = {"pauseConditions": None}
    following = _following_step(canary, status)
    if pauses:
        run = _mapping(_mapping(status.get("canary")).get("currentStepAnalysisRunStatus"))
        if run.get("status") == "Inconclusive" and status.get("controllerPause") and following is not None:
            body |= {"controllerPause": False, "currentStepIndex": following}
    elif following is not None:
        body["currentStepIndex"] = following
    return (_status(body), *resume)


def skip_step(rollout: Mapping[str, Any]) -> tuple[Command, ...]:
    """Return the patch that takes a canary to its next step (`promote -c` of old clients).

    Raises:
        SpecError: it has no steps.
    """
    return (_status({"currentStepIndex": _following_step(*_stepped(rollout))}),)


def skip_all_steps(rollout: Mapping[str, Any]) -> tuple[Command, ...]:
    """Return the patch that takes a canary past its last step (`promote -a` of old clients).

    Raises:
        SpecError: it has no steps.
    """
    canary, _ = _stepped(rollout)
    return (_status({"currentStepIndex": len(canary["steps"])}),)


def _stepped(rollout: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return strategy and status of a canary that has steps."""
    strategy = _mapping(_mapping(rollout.get("spec")).get("strategy"))
    if "blueGreen" in strategy:
        raise SpecError("Cannot skip steps of a bluegreen rollout. Run without a flags")
    canary = _mapping(strategy.get("canary"))
    if not isinstance(canary.get("steps"), Sequence) or not canary["steps"]:
        raise SpecError("Cannot skip steps of a rollout without steps")
    return canary, _mapping(rollout.get("status"))


def _following_step(canary: Mapping[str, Any], status: Mapping[str, Any]) -> int | None:
    steps = canary.get("steps")
    if not isinstance(steps, Sequence) or not steps:
        return None
    index = status.get("currentStepIndex")
    return min((index if isinstance(index, int) else 0) + 1, len(steps))


def abort() -> tuple[Command, ...]:
    """Return the patch that sends all traffic back to stable."""
    return (_status({"abort": True}),)


def retry() -> tuple[Command, ...]:
    """Return the patch that starts an aborted update again at its first step."""
    return (_status({"abort": False}),)


def retry_experiment() -> tuple[Command, ...]:
    """Return the patch that starts an Experiment again: it forgets all that it was."""
    return (Command("", MergePatch({"status": None})),)


def pause() -> tuple[Command, ...]:
    """Return the patch that halts a Rollout until it is promoted."""
    return (_spec({"paused": True}),)


def restart(at: datetime) -> tuple[Command, ...]:
    """Return the patch that has every pod created before `at` evicted, as budgets allow."""
    return (_spec({"restartAt": rfc3339(at)}),)


def without_subresource(given: Sequence[Command]) -> tuple[Command, ...]:
    """Return the same as one patch of the main object, for clusters whose definition has no status subresource."""
    body: dict[str, Any] = {}
    for command in given:
        if isinstance(command.patch, MergePatch):
            body |= command.patch.body
    return (Command("", MergePatch(body)),)


def terminate_run() -> tuple[Command, ...]:
    """Return the patch that ends an AnalysisRun or an Experiment."""
    return (_spec({"terminate": True}),)


def revision_of(replica_set: Manifest) -> int:
    """Return the revision that a ReplicaSet records, 0 when there is none."""
    text = replica_set.metadata.annotations.get(REVISION, "")
    return int(text) if text.isdecimal() else 0


def undo(
    rollout: Manifest, replica_sets: Sequence[Manifest], *, to_revision: int = 0, workload: Manifest | None = None
) -> tuple[Command, ...]:
    """Return the patch that puts an earlier revision's template back; nothing when it is the template already.

    Args:
        rollout: the Rollout.
        replica_sets: those of the namespace; only the ones that the Rollout owns are considered.
        to_revision: which one; 0: the one before the latest.
        workload: what the Rollout takes its template from, and what the patch is for; None: the Rollout itself.

    Raises:
        SpecError: there is no such revision.
    """
    owned = [
        candidate
        for candidate in replica_sets
        if candidate.metadata.controller is not None and candidate.metadata.controller.uid == rollout.metadata.uid
    ]
    by_revision = sorted(owned, key=revision_of, reverse=True)
    if to_revision:
        target = next((found for found in by_revision if revision_of(found) == to_revision), None)
        if target is None:
            raise SpecError(f"unable to find specified revision {to_revision} in history")
    elif len(by_revision) < 2:
        raise SpecError(f'no revision found for rollout "{rollout.metadata.name}"')
    else:
        target = by_revision[1]
    template = _without_hash(_original(target))
    path, current = _template_of(workload or rollout)
    if _without_hash(current) == template:
        return ()
    return (Command("", JsonPatch(({"op": "replace", "path": path, "value": template},))),)


def _template_of(found: Manifest) -> tuple[str, Mapping[str, Any]]:
    """Return where the pod template of an object stands, and the template: a PodTemplate has it at the top."""
    if found.content.get("kind") == "PodTemplate":
        return "/template", _mapping(found.content.get("template"))
    return "/spec/template", _mapping(_mapping(found.content.get("spec")).get("template"))


def _original(replica_set: Manifest) -> Mapping[str, Any]:
    """Return the template of a ReplicaSet without what only marks or places its pods."""
    # Imported here: the other commands, which only write a patch, need not wait for them.
    import msgspec

    from fairlead.core.kinds import REPLICA_SETS
    from fairlead.rollouts._ephemeral import bare_template
    from fairlead.rollouts._template import affinity_without_injected

    decoded = REPLICA_SETS.decode(msgspec.json.encode(replica_set.content))
    found: dict[str, Any] = msgspec.json.decode(bare_template(decoded))
    pod = dict(_mapping(found.get("spec")))
    if affinity := _mapping(pod.pop("affinity", None)):
        kept = affinity_without_injected(affinity)
        pod |= {"affinity": kept} if kept else {}
    return {**found, "spec": pod}


def _without_hash(template: Mapping[str, Any]) -> dict[str, Any]:
    metadata = _mapping(template.get("metadata"))
    labels = {key: value for key, value in _mapping(metadata.get("labels")).items() if key != HASH_LABEL}
    kept = {key: value for key, value in metadata.items() if key not in ("labels", "creationTimestamp")}
    return {**template, "metadata": {**kept, **({"labels": labels} if labels else {})}}


def set_images(workload: Manifest, images: Mapping[str, str]) -> tuple[Command, ...]:
    """Return the patch that gives containers new images; nothing when they have them already.

    The patch carries the resourceVersion that was read, so that a change in between is refused, not overwritten.

    Args:
        workload: the Rollout, or the object that it refers to.
        images: by container name; `*` is every container.

    Raises:
        SpecError: a named container does not exist.
    """
    root, template = _template_of(workload)
    pod = _mapping(template.get("spec"))
    operations: list[dict[str, Any]] = []
    found: set[str] = set()
    for listed in _CONTAINER_LISTS:
        for position, container in enumerate(pod.get(listed) or ()):
            name = _mapping(container).get("name", "")
            image = images.get(name, images.get("*"))
            if image is None:
                continue
            found.add(name if name in images else "*")
            if _mapping(container).get("image") != image:
                path = f"{root}/spec/{listed}/{position}/image"
                operations.append({"op": "add", "path": path, "value": image})
    if missing := sorted(set(images) - found):
        raise SpecError(f'unable to find container named "{missing[0]}"')
    if not operations:
        return ()
    guard = {"op": "test", "path": "/metadata/resourceVersion", "value": workload.metadata.resource_version}
    return (Command("", JsonPatch((guard, *operations))),)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
