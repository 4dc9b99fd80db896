"""Reading the values of ExternalSecrets, each in a task of its own: no reconciliation waits for a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from functools import partial

from fairlead.core.clock import Clock
from fairlead.core.errors import FairleadError, SpecError
from fairlead.core.objects import ObjectKey
from fairlead.secrets import _sources
from fairlead.secrets._opening import KnownStore, Stores
from fairlead.secrets._planner import Planner
from fairlead.secrets._questions import Question, StoreName
from fairlead.secrets._sight import Reach
from fairlead.secrets._sources import Reading, Source, SourceError
from fairlead.secrets.actions import Fetch
from fairlead.secrets.machine import GET_FAILED, Subject
from fairlead.secrets.observation import Failed, Fetched, Outcome


class Reader:
    """Reads what ExternalSecrets ask for, one reading per object at a time. Close it at the end.

    Args:
        stores: makes handles of stores.
        planner: asks them.
        executor: where patterns of tenants run, so that one that takes long holds up nobody; None: here.
    """

    def __init__(self, stores: Stores, planner: Planner, clock: Clock, *, executor: Executor | None = None) -> None:
        self._stores = stores
        self._planner = planner
        self._clock = clock
        self._executor = executor
        self._tasks: dict[ObjectKey, asyncio.Task[None]] = {}

    def begin(
        self,
        key: ObjectKey,
        subject: Subject,
        action: Fetch,
        reaches: tuple[Reach, ...],
        *,
        then: Callable[[Outcome], None],
    ) -> None:
        """Begin to read; `then` is called with what came of it, unless the reading is stopped."""
        assert key not in self._tasks, f"{key} is being read already"
        reading = self._read(key, subject, action, reaches, then)
        self._tasks[key] = asyncio.create_task(reading, name=f"external-secret-{key}")

    def is_under_way(self, key: ObjectKey) -> bool:
        """Return whether the values of the object are being read at this moment."""
        return key in self._tasks

    def stop(self, key: ObjectKey) -> None:
        """Break off what is under way for an object; nobody is told."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Break off everything."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _read(
        self,
        key: ObjectKey,
        subject: Subject,
        action: Fetch,
        reaches: tuple[Reach, ...],
        then: Callable[[Outcome], None],
    ) -> None:
        started_at = self._clock.now()
        outcome: Outcome
        try:
            outcome = await self._together(subject, action, reaches, started_at)
        except SourceError as error:
            outcome = Failed(message=GET_FAILED, detail=str(error), retry_after=error.retry_after)
        except SpecError as error:
            outcome = Failed(message=GET_FAILED, detail=str(error), is_final=True)
        except FairleadError as error:
            outcome = Failed(message=GET_FAILED, detail=str(error))
        finally:
            if self._tasks.get(key) is asyncio.current_task():
                del self._tasks[key]
        then(outcome)

    async def _together(
        self, subject: Subject, action: Fetch, reaches: tuple[Reach, ...], started_at: datetime
    ) -> Fetched:
        """Return what all sources gave together.

        Raises:
            SourceError: a source could not be read.
            SpecError: a source cannot be asked.
        """
        assert subject.spec is not None, "what cannot be understood is not read"
        known = {StoreName(reach.seen.kind, reach.seen.name): reach.known for reach in reaches}
        sources = _sources.sources(subject.spec)
        readings = await self._ask_all(sources, known, subject.metadata.namespace, action)
        assemble = partial(
            _sources.assemble,
            subject.spec,
            sources,
            readings,
            converts_found={name: store.converts_found_keys for name, store in known.items() if store is not None},
        )
        if self._executor is not None and _sources.is_costly(subject.spec):
            found = await asyncio.get_running_loop().run_in_executor(self._executor, assemble)
        else:
            found = assemble()
        return Fetched(values=found.values, missing=found.missing, started_at=started_at)

    async def _ask_all(
        self,
        sources: tuple[Source, ...],
        known: dict[StoreName, KnownStore | None],
        namespace: str,
        action: Fetch,
    ) -> list[Reading]:
        """Return the answers of all sources, in order; each store is asked once for all that is wanted of it."""
        grouped: dict[StoreName, list[int]] = {}
        for index, source in enumerate(sources):
            grouped.setdefault(source.store, []).append(index)
        readings: dict[int, Reading] = {}

        async def ask(name: StoreName, indexes: list[int]) -> None:
            store = known.get(name)
            if store is None:
                raise SourceError(f'{name.kind} "{name.name}" not found')
            handle = self._stores.handle(store, namespace)
            questions: list[Question] = [sources[index].question for index in indexes]
            answers = await self._planner.ask(handle, questions, urgency=action.urgency, not_before=action.not_before)
            for index, answer in zip(indexes, answers, strict=True):
                assert answer is not None, "a value is an answer"
                readings[index] = answer

        await asyncio.gather(*(ask(name, indexes) for name, indexes in grouped.items()))
        return [readings[index] for index in range(len(sources))]
