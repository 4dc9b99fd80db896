"""What must never be written about analysis runs, and about Rollouts because of them."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.manifests import Doc
from tests.simulation.rules import invariant
from tests.simulation.story import Commit, Story, hash_of, read

_NO_VALUE = ("", "NaN", "null", "None", "nan", "[]")  # an infinity can be compared, and so be good
_BAD = ("Failed", "Error", "Inconclusive")
_ENDED = ("Successful", *_BAD)


def _results(run: Doc | None) -> list[Doc]:
    results: list[Doc] = read(run or {}, "status", "metricResults") or []
    return results


def _metric(run: Doc, name: str) -> Doc:
    metrics: list[Doc] = read(run, "spec", "metrics") or []
    return next((one for one in metrics if one["name"] == name), {})


def _is_run(commit: Commit) -> bool:
    return commit.is_ours and commit.kind == "AnalysisRun"


@invariant("27")
def analysis_begins_when_weights_hold(story: Story, commit: Commit) -> Iterator[str]:
    if not _is_run(commit) or commit.verb != "create" or not story.routing.is_routed or commit.new is None:
        return
    index = read(commit.new, "metadata", "labels", "step-index")
    if index is None:
        return
    weight = story.weight_at(int(index))
    if not story.is_held(weight):
        yield f"run of step {index} begun with {story.split.now} stored and {story.wire_canary:g} on the wire"


@invariant("28")
def no_data_is_no_success(story: Story, commit: Commit) -> Iterator[str]:
    if not _is_run(commit) or commit.new is None or read(commit.new, "status", "phase") != "Successful":
        return
    if read(commit.new, "spec", "terminate"):
        return  # ended because nobody needs it any more
    dry = {one["metricName"] for one in read(commit.new, "spec", "dryRun") or ()}
    results = [one for one in _results(commit.new) if one["name"] not in dry]
    if not results:
        yield "a run is successful without any result"
    for result in results:
        good = [one for one in result.get("measurements") or () if one.get("phase") == "Successful"]
        if result.get("phase") != "Successful" or not result.get("successful") or not good:
            yield f"a run is successful, and metric {result['name']} is {result.get('phase')}"
        for one in good:
            if str(one.get("value", "")) in _NO_VALUE:
                yield f"a measurement of {result['name']} is successful with the value {one.get('value')!r}"


@invariant("29")
def doubts_never_promote(story: Story, commit: Commit) -> Iterator[str]:
    if not commit.is_ours or commit.kind != "Rollout" or commit.old is None or commit.new is None:
        return
    old, new = commit.old.get("status") or {}, commit.new.get("status") or {}
    is_promoted = new.get("stableRS") == new.get("currentPodHash") != old.get("stableRS")
    is_raised = (new.get("currentStepIndex") or 0) > (old.get("currentStepIndex") or 0)
    is_commanded = old.get("promoteFull") or old.get("controllerPause") or story.commands or old.get("abortedAt")
    is_same = old.get("currentPodHash") == new.get("currentPodHash")
    if not (is_promoted or is_raised) or is_commanded or not is_same or "rollbackWindow" in story.spec:
        return
    for name in ("currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"):
        run = read(old, "canary", name)
        found = next((one for one in story.runs if run and one["metadata"]["name"] == run["name"]), None)
        phase = read(found or {}, "status", "phase")
        if phase in _BAD and not read(found or {}, "spec", "terminate"):
            yield f"went on while run {run['name']} is {phase}"


@invariant("30")
def measurements_count_once(story: Story, commit: Commit) -> Iterator[str]:
    if not _is_run(commit) or commit.old is None or commit.new is None:
        return
    before = {one["name"]: one for one in _results(commit.old)}
    for after in _results(commit.new):
        counts = [int(after.get(name) or 0) for name in ("successful", "failed", "inconclusive", "error")]
        ended = sum(counts)
        if ended != int(after.get("count") or 0) + int(after.get("error") or 0):
            yield f"metric {after['name']} counts {after.get('count')} measurements, and {counts} verdicts"
        earlier = before.get(after["name"], {})
        for name in ("count", "successful", "failed", "inconclusive", "error"):
            if int(after.get(name) or 0) < int(earlier.get(name) or 0):
                yield f"metric {after['name']} lost a measurement: {name} fell"
        kept = {one["startedAt"]: one for one in earlier.get("measurements") or () if one.get("finishedAt")}
        for one in after.get("measurements") or ():
            known = kept.get(one.get("startedAt"))
            if known is not None and known.get("phase") != one.get("phase"):
                yield f"a measurement of {after['name']} changed from {known.get('phase')} to {one.get('phase')}"


@invariant("31")
def limits_are_exact(story: Story, commit: Commit) -> Iterator[str]:
    if not _is_run(commit) or commit.new is None:
        return
    phase = read(commit.new, "status", "phase")
    for result in _results(commit.new):
        metric = _metric(commit.new, result["name"])
        allowed = int(metric.get("failureLimit") or 0)
        doubted = int(metric.get("inconclusiveLimit") or 0)
        broken = int(metric.get("consecutiveErrorLimit", 4))
        over = (
            (allowed >= 0 and int(result.get("failed") or 0) > allowed)
            or int(result.get("inconclusive") or 0) > doubted
            or int(result.get("consecutiveError") or 0) > broken
        )
        if over and (result.get("phase") not in _BAD or phase not in _BAD):
            yield f"metric {result['name']} is over its limit, and the run is {phase}: {result}"


@invariant("32")
def verdicts_stand(story: Story, commit: Commit) -> Iterator[str]:
    if not _is_run(commit) or commit.old is None or commit.new is None:
        return
    before, after = read(commit.old, "status", "phase"), read(commit.new, "status", "phase")
    if before in _ENDED and before != after:
        yield f"a verdict changed from {before} to {after}"


@invariant("31")
def bad_verdicts_abort_at_once(story: Story, commit: Commit) -> Iterator[str]:
    """A run that the status has called failed ends the update with the next write of the status."""
    status = story.status
    if not commit.is_ours or commit.kind != "Rollout" or status.get("abort") or story.spec.get("paused"):
        return
    if not commit.changed("status"):
        return
    for name in ("currentStepAnalysisRunStatus", "currentBackgroundAnalysisRunStatus"):
        run = read(commit.old or {}, "status", "canary", name) or {}
        if run.get("status") in ("Failed", "Error") and hash_of(story.objects.get(("AnalysisRun", run["name"]), {})):
            yield f"run {run['name']} is {run['status']}, and the update goes on"
