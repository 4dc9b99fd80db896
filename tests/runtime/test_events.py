"""Events are merged, limited, in order, and in nobody's way. Under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from fairlead.core.cluster import MergePatch
from fairlead.core.decision import Event, EventType
from fairlead.core.errors import AlreadyExists, Forbidden, NotFound, TooManyRequests, Unavailable
from fairlead.core.kinds import ROLLOUTS
from fairlead.core.objects import ObjectMeta
from fairlead.core.patches import merge
from fairlead.runtime.events import EventRecorder, EventSettings
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual
from tests.runtime.scripted import ScriptedCluster


class Api:
    """Stores Events as an API server would; fails and dawdles as told."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[float, str, str]] = []
        self.failures: list[Exception] = []
        self.seconds = 0.0
        self.loses_answers = False

    async def __call__(self, verb: str, kind: Any, *rest: Any) -> None:
        if verb == "create":
            namespace, body = rest
            name = f"{namespace}/{body['metadata']['name']}"
        else:
            key, patch, _ = rest
            name, body = str(key), patch.body
            assert isinstance(patch, MergePatch)
        self.calls.append((asyncio.get_running_loop().time(), verb, name.rpartition(".")[0]))
        await asyncio.sleep(self.seconds)
        if self.failures and not self.loses_answers:
            raise self.failures.pop(0)
        if verb == "create":
            if name in self.stored:
                raise AlreadyExists("exists")
            self.stored[name] = body
        else:
            if name not in self.stored:
                raise NotFound("gone")
            self.stored[name] = merge(self.stored[name], body)
        if self.failures:
            raise self.failures.pop(0)

    def messages(self, object_name: str = "cart") -> list[tuple[str, int]]:
        return [
            (event["message"], event["count"])
            for event in self.stored.values()
            if event["involvedObject"]["name"] == object_name
        ]


def about(name: str = "cart", *, namespace: str = "shop") -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}", resource_version="41")


def play(
    story: Callable[[EventRecorder, Api], Awaitable[None]],
    *,
    api: Api | None = None,
    settings: EventSettings | None = None,
) -> Api:
    api = api or Api()

    async def scene() -> None:
        recorder = EventRecorder(
            ScriptedCluster(write=api),
            LoopClock(),
            component="rollouts-controller",
            settings=settings or EventSettings(),
        )
        running = asyncio.create_task(recorder.run())
        await story(recorder, api)
        await recorder.stop(60)
        await running

    run_virtual(scene())
    return api


def test_an_event_says_what_happened_to_whom() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        await asyncio.sleep(5)
        recorder.record(ROLLOUTS, about(), Event("RolloutAborted", "aborted by analysis", EventType.WARNING))

    api = play(story)
    ((name, event),) = api.stored.items()
    assert name.startswith("shop/cart.")
    assert len(name) == len("shop/cart.") + 16
    event["metadata"].pop("name")
    assert event == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "involvedObject": {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "namespace": "shop",
            "name": "cart",
            "uid": "uid-cart",
            "resourceVersion": "41",
        },
        "reason": "RolloutAborted",
        "message": "aborted by analysis",
        "type": "Warning",
        "source": {"component": "rollouts-controller"},
        "reportingComponent": "rollouts-controller",
        "firstTimestamp": "2026-01-01T00:00:05Z",
        "lastTimestamp": "2026-01-01T00:00:05Z",
        "count": 1,
    }


def test_an_event_of_a_cluster_scoped_object_is_in_the_default_namespace() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(namespace=""), Event("R", "m"))

    ((name, event),) = play(story).stored.items()
    assert name.startswith("default/cart.")
    assert "namespace" not in event["involvedObject"]


def test_recording_does_not_wait() -> None:
    """Not one turn of the loop, with an API server that takes a minute for each answer."""
    api = Api()
    api.seconds = 60

    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(5):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))
        assert api.calls == []
        assert recorder.pending == 5
        assert await recorder.flush(1) is False
        assert await recorder.flush(1000) is True

    assert len(play(story, api=api).stored) == 5


def test_a_repetition_raises_the_count() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for _ in range(4):
            recorder.record(ROLLOUTS, about(), Event("R", "m"))
            await asyncio.sleep(10)

    api = play(story)
    assert [verb for _, verb, _ in api.calls] == ["create", "patch", "patch", "patch"]
    (event,) = api.stored.values()
    assert event["count"] == 4
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z")


def test_repetitions_that_have_not_been_written_yet_cost_one_request() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for _ in range(20):
            recorder.record(ROLLOUTS, about(), Event("R", "m"))

    api = play(story)
    assert len(api.calls) == 1
    assert api.messages() == [("m", 20)]


def test_a_repetition_while_the_first_is_on_its_way_is_not_lost() -> None:
    api = Api()
    api.seconds = 5

    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        await asyncio.sleep(1)
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        assert await recorder.flush(100)

    assert play(story, api=api).messages() == [("m", 2)]


@pytest.mark.parametrize(
    ("second", "uid"),
    [
        pytest.param(Event("R", "another message"), "uid-cart", id="message"),
        pytest.param(Event("Other", "m"), "uid-cart", id="reason"),
        pytest.param(Event("R", "m", EventType.WARNING), "uid-cart", id="type"),
        pytest.param(Event("R", "m"), "uid-another", id="object"),
    ],
)
def test_different_events_stay_apart(second: Event, uid: str) -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        recorder.record(ROLLOUTS, ObjectMeta(name="cart", namespace="shop", uid=uid), second)

    assert [event["count"] for event in play(story).stored.values()] == [1, 1]


def test_after_a_while_the_same_event_is_a_new_one() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        await asyncio.sleep(601)
        recorder.record(ROLLOUTS, about(), Event("R", "m"))

    assert play(story).messages() == [("m", 1), ("m", 1)]


def test_an_event_that_the_server_has_expired_is_created_anew() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        assert await recorder.flush(10)
        api.stored.clear()
        recorder.record(ROLLOUTS, about(), Event("R", "m"))

    assert play(story).messages() == [("m", 2)]


def test_the_order_of_an_objects_events_is_kept_through_failures() -> None:
    api = Api()
    api.failures = [Unavailable("down"), TooManyRequests("slow down", retry_after=7)]

    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(4):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))

    api = play(story, api=api)
    assert api.messages() == [(f"m{number}", 1) for number in range(4)]
    assert api.calls[2][0] - api.calls[1][0] >= 7


def test_an_object_in_trouble_does_not_hold_up_another() -> None:
    api = Api()
    api.failures = [Unavailable("down")] * 3

    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about("unlucky"), Event("R", "m"))
        await asyncio.sleep(0.1)
        api.failures.clear()
        recorder.record(ROLLOUTS, about(), Event("R", "m"))

    api = play(story, api=api)
    assert [name for _, _, name in api.calls] == ["shop/unlucky", "shop/cart", "shop/unlucky"]


def test_a_lost_answer_does_not_double_an_event() -> None:
    api = Api()
    api.failures = [Unavailable("connection reset")]
    api.loses_answers = True

    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))

    api = play(story, api=api)
    assert [verb for _, verb, _ in api.calls] == ["create", "create"]
    assert api.messages() == [("m", 1)]


@pytest.mark.parametrize(
    ("failures", "calls"),
    [
        pytest.param([Unavailable("down")] * 50, 5, id="tries-are-limited"),
        pytest.param([Forbidden("namespace is terminating")], 1, id="refusals-are-final"),
        pytest.param([NotFound("namespace not found")], 1, id="namespace-gone"),
    ],
)
def test_what_cannot_be_written_is_dropped_and_logged(failures: list[Exception], calls: int) -> None:
    api = Api()
    api.failures = failures

    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        assert await recorder.flush(100)
        api.failures.clear()
        assert len(api.calls) == calls
        assert recorder.dropped == 1
        recorder.record(ROLLOUTS, about(), Event("R", "next"))

    with capture_logs() as logs:
        api = play(story, api=api)
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["event_not_written"]
    assert api.messages() == [("next", 1)]


def test_a_repetition_that_cannot_be_written_is_dropped_too() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        assert await recorder.flush(10)
        api.failures = [Forbidden("no")]
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        assert await recorder.flush(10)
        assert (recorder.pending, recorder.dropped) == (0, 1)

    assert play(story).messages() == [("m", 1)]


def test_an_object_that_chatters_is_limited() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(100):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))
            if number == 50:
                recorder.record(ROLLOUTS, about("quiet"), Event("R", "the same"))
        assert await recorder.flush(10)
        assert len(api.messages()) == 25
        await asyncio.sleep(601)
        for number in range(100, 200):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))

    api = play(story)
    assert [message for message, _ in api.messages()] == [*(f"m{number}" for number in range(25)), "m100", "m101"]
    assert api.messages("quiet") == [("the same", 1)]


def test_a_long_silence_earns_no_more_than_the_burst() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", "first"))
        await asyncio.sleep(86400)
        for number in range(100):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))

    assert len(play(story).messages()) == 1 + 25


def test_what_the_limit_held_back_is_counted_all_the_same() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for _ in range(60):
            recorder.record(ROLLOUTS, about(), Event("R", "m"))
            assert await recorder.flush(10)
        await asyncio.sleep(300)
        recorder.record(ROLLOUTS, about(), Event("R", "m"))

    assert play(story).messages() == [("m", 61)]


def test_the_queue_is_bounded() -> None:
    api = Api()
    api.seconds = 1

    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(100):
            recorder.record(ROLLOUTS, about(f"n{number}"), Event("R", "m"))
        assert (recorder.pending, recorder.dropped) == (10, 90)

    assert len(play(story, api=api, settings=EventSettings(pending_max=10)).stored) == 10


def test_memory_is_bounded() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(500):
            recorder.record(ROLLOUTS, about(f"n{number}"), Event("R", "m"))
            await asyncio.sleep(1)
        assert len(recorder._series) <= 100
        assert len(recorder._budgets) <= 100
        assert recorder._pending == {}

    play(story, settings=EventSettings(remembered_max=100))


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        pytest.param("x" * 1024, "x" * 1024, id="just-fits"),
        pytest.param("x" * 2000, "x" * 1021 + "…", id="too-long"),
        pytest.param("é" * 1000, "é" * 510 + "…", id="bytes-count"),
        pytest.param("half \ud800 pair", "half ? pair", id="surrogate"),
    ],
)
def test_messages_are_made_to_fit(message: str, kept: str) -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about(), Event("R", message))

    assert play(story).messages() == [(kept, 1)]


def test_a_long_name_leaves_room_for_the_suffix() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        recorder.record(ROLLOUTS, about("n" * 253), Event("R", "m"))

    (name,) = play(story).stored
    assert len(name.removeprefix("shop/")) == 253


def test_what_is_not_written_in_time_is_lost_and_said_so() -> None:
    api = Api()
    api.seconds = 10**6

    async def scene() -> None:
        recorder = EventRecorder(ScriptedCluster(write=api), LoopClock(EPOCH), component="c")
        running = asyncio.create_task(recorder.run())
        recorder.record(ROLLOUTS, about(), Event("R", "m"))
        await recorder.stop(5)
        running.cancel()
        await asyncio.wait([running])

    with capture_logs() as logs:
        run_virtual(scene())
    assert [(line["event"], line["count"]) for line in logs] == [("events_lost", 1)]


# --- a share of requests --------------------------------------------------------------------------------------------


def test_what_waits_for_its_share_is_told_together_in_order() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for reason in ("Created", "Scaled", "Paused", "Resumed", "Completed"):
            recorder.record(ROLLOUTS, about(), Event(reason, reason.lower()))
            await asyncio.sleep(0.1)
        await asyncio.sleep(20)

    api = play(story, settings=EventSettings(writes_burst=2, writes_per_second=1.0))
    told = "Paused: paused; Resumed: resumed; Completed: completed"
    assert [(event["reason"], event["message"]) for event in api.stored.values()] == [
        ("Created", "created"),
        ("Scaled", "scaled"),
        ("Completed", told),
    ]
    assert len(api.calls) == 3


def test_objects_share_what_there_is() -> None:
    """20 objects with 16 events each within a short time: far fewer requests than events, and none is lost."""

    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(16):
            for name in range(20):
                recorder.record(ROLLOUTS, about(f"web-{name}"), Event(f"R{number}", f"m{number}"))
            await asyncio.sleep(1)
        await asyncio.sleep(120)

    api = play(story, settings=EventSettings(writes_burst=30, writes_per_second=2.0))
    assert len(api.calls) <= 100
    for name in range(20):
        told = "; ".join(message for message, _ in api.messages(f"web-{name}"))
        assert [f"m{number}" for number in range(16) if f"m{number}" in told] == [f"m{number}" for number in range(16)]
        positions = [told.index(f"m{number}") for number in range(16)]
        assert positions == sorted(positions)


def test_a_thousand_new_objects_are_told_about_within_two_minutes() -> None:
    """By the share alone their Events would take 320 s, and come when everybody has looked in vain."""

    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(1000):
            recorder.record(ROLLOUTS, about(f"db-{number}"), Event("Created", "secret created"))
            await asyncio.sleep(0.01)
        await asyncio.sleep(110)
        assert recorder.pending == 0

    api = play(story)
    assert len(api.calls) == len(api.stored) == 1000
    times = [at for at, _, _ in api.calls]
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 80, "and never all at once"


def test_a_warning_neither_waits_nor_is_told_with_others() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(4):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))
        await asyncio.sleep(0.1)
        recorder.record(ROLLOUTS, about(), Event("RolloutAborted", "aborted", EventType.WARNING))
        await asyncio.sleep(0.1)
        assert [message for message, _ in api.messages()] == ["m0", "R: m1; R: m2; R: m3", "aborted"]

    play(story, settings=EventSettings(writes_burst=1, writes_per_second=0.01))


def test_at_the_end_nothing_waits() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(4):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))
        await asyncio.sleep(0.1)

    api = play(story, settings=EventSettings(writes_burst=1, writes_per_second=0.001))
    assert [message for message, _ in api.messages()] == ["m0", "R: m1; R: m2; R: m3"]


def test_without_a_share_each_event_is_told_by_itself() -> None:
    async def story(recorder: EventRecorder, api: Api) -> None:
        for number in range(20):
            recorder.record(ROLLOUTS, about(), Event("R", f"m{number}"))
        await asyncio.sleep(1)

    api = play(story, settings=EventSettings(writes_burst=1, writes_per_second=None))
    assert [message for message, _ in api.messages()] == [f"m{number}" for number in range(20)]
