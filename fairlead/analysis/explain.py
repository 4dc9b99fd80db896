"""What a run waits for, told from the object alone."""

from __future__ import annotations

from datetime import datetime

from fairlead.analysis.machine import decide, prepare, unreadable
from fairlead.analysis.observation import NOTHING_SEEN
from fairlead.analysis.spec import decode_run_spec
from fairlead.analysis.status import decode_status
from fairlead.core.decision import Blocker
from fairlead.core.errors import SpecError
from fairlead.core.kinds import AnalysisRun


def explain(run: AnalysisRun, now: datetime) -> Blocker | None:
    """Return what a run waits for, since when, and what comes next; None: it is completed.

    A metric that is due is told as being measured: whether somebody does so at this moment, the object does not say.
    """
    try:
        prepared = prepare(decode_run_spec(run.spec))
    except SpecError as error:
        prepared = unreadable(error)
    return decide(prepared, decode_status(run.status), NOTHING_SEEN, now).blocked_on
