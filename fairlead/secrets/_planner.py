"""Who asks a store what, and when: one call per distinct key and refresh window, whoever asks.

For each store there is one queue of questions:

- **Single flight.** A question that is waiting or on its way is asked once for all who want it; its answer serves
  those who come within the next seconds as well, unless they need a younger one (`not_before`). While new objects keep
  coming, these seconds begin anew: a first sync shares its reads however long the machine takes for it.
- **Batches.** Questions of one identity that wait together are handed to the store together.
- **Budget.** So many reads per second and store, from the first second on: a restart earns no extra burst. A store
  that says 429 is left alone for as long as it asks, and is asked at half the rate afterwards, rising slowly.
- **Lanes.** What somebody waits for (new, changed, drifted) goes before what is merely refreshed.
- **Circuit.** A store that fails several times in a row is asked by one probe at a time, at growing intervals; others
  hear at once why they have no answer. When it is back, those who failed are told, and the budget keeps them in line.
- **Connections.** One per store and identity, closed (which logs out) when it is idle, outdated, or at the end.

Values are held while somebody waits for them and for the time that they are shared, and nowhere else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import datetime

from fairlead.core.clock import Clock
from fairlead.core.errors import FairleadError
from fairlead.secrets._questions import Answer, Question, StoreHandle, Validation
from fairlead.secrets._store_queue import StoreQueue, unavailable
from fairlead.secrets.actions import Urgency
from fairlead.secrets.settings import PLANNER_DEFAULTS, PlannerSettings

_CLOSING = "fairlead is shutting down"


class Planner:
    """Asks stores on behalf of everybody. Close it at the end: that logs out everywhere.

    Args:
        clock: tells the time.
        rng: draws jitter.
        recovered: is called with the UID of a store that answers again after its circuit was open.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        settings: PlannerSettings = PLANNER_DEFAULTS,
        rng: random.Random | None = None,
        recovered: Callable[[str], None] | None = None,
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._rng = rng or random.Random()
        self._queues: dict[str, StoreQueue] = {}
        self._recovered = recovered
        self._is_closed = False

    async def ask(
        self, handle: StoreHandle, questions: Sequence[Question], *, urgency: Urgency, not_before: datetime
    ) -> list[Answer]:
        """Return the answers in order, errors among them; never raises for a store.

        Args:
            not_before: an answer to a question that was put earlier will not do.
        """
        if self._is_closed:
            return [unavailable(_CLOSING)] * len(questions)
        return await self._queue(handle.uid).ask(handle, questions, urgency, not_before)

    async def validate(self, handle: StoreHandle) -> FairleadError | None:
        """Return why the store cannot be used; None: it can."""
        now = self._clock.now()
        (answer,) = await self.ask(handle, (Validation(),), urgency=Urgency.FIRST, not_before=now)
        return answer if isinstance(answer, FairleadError) else None

    def on_recovery(self, told: Callable[[str], None]) -> None:
        """Have somebody else told when a store is back."""
        self._recovered = told

    async def forget(self, uid: str) -> None:
        """Close the connections of a store that is gone."""
        queue = self._queues.pop(uid, None)
        if queue is not None:
            await queue.close("the store is gone")

    async def close(self) -> None:
        """Log out everywhere; those who wait are told. The object cannot be used any more."""
        self._is_closed = True
        await asyncio.gather(*(queue.close(_CLOSING) for queue in self._queues.values()))
        self._queues.clear()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(queue.connections for queue in self._queues.values())

    @property
    def kept(self) -> int:
        """How many answers are held for those who come later."""
        return sum(queue.kept for queue in self._queues.values())

    def _queue(self, uid: str) -> StoreQueue:
        if uid not in self._queues:
            self._queues[uid] = StoreQueue(
                uid, self._clock, self._settings, self._rng, recovered=lambda: self._tell(uid)
            )
        return self._queues[uid]

    def _tell(self, uid: str) -> None:
        if self._recovered is not None:
            self._recovered(uid)
