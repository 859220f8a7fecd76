"""What is said beside a run's own message, or in its place: that nothing was published, or will hardly be in time,
that something was again, how far a run is, what somebody decided by hand, that not even the run's message could be
made.

Pure functions, as in `render`.
"""

from __future__ import annotations

from datetime import datetime

from include import words
from include.results.backups import Made
from include.results.publications import Decision, Publication
from include.results.summary import Summary
from include.slack import moved
from include.slack.message import Code, Line, Link, Message, Section, compose, short
from include.slack.outbox import PROGRESS

LATE, BACK, AT_RISK = "late", "back", "at risk"
WATCHDOG = "greenery_watchdog"
# The steps of a run, as somebody who waits for it calls them.
LAYERS = ("sources", "models", "snapshot", "history", "publish")
LONGEST_REASON = 300
_DECIDED = {
    "publish": "published by hand",
    "roll back": "rolled back",
    "hold": "publishing is held back",
    "release": "publishing goes on",
    "accept history": "the snapshots are accepted as they are",
}


def late(
    due: datetime,
    by: datetime,
    *,
    data_as_of: datetime | None,
    run_id: str | None,
    failed: bool,
    held: Decision | None,
    url: str,
    health_url: str,
) -> Message:
    """Nothing was published by the time at which it should have been.

    `run_id` is the last run since it was due, and `failed` says whether it told that it failed. `url` and `health_url`
    lead to Airflow and to the data-health page.
    """
    if held:
        why = f"{held.by} holds publishing back since {words.moment(held.decided_at)}: {held.reason}"
    elif run_id:
        why = f"Run {run_id} {'failed; its message says of what.' if failed else 'has begun and not ended yet.'}"
    else:
        why = "No run has begun since. Is the scheduler up, and is greenery_daily switched on?"
    return _notice(
        LATE,
        f"🔴 Greenery data is late: nothing was published by {words.moment(by)}",
        [f"It was due at {words.moment(due)}.", short(why, LONGEST_REASON), _seen(data_as_of)],
        _health(health_url),
        _airflow(url),
    )


def at_risk(by: datetime, why: str, *, data_as_of: datetime | None, url: str, health_url: str) -> Message:
    """What is promised by a time will hardly be there then, by what is usual."""
    return _notice(
        AT_RISK,
        f"⚠️ Greenery data: the promise of {words.moment(by)} is at risk",
        [f"{short(why, LONGEST_REASON)}.", _seen(data_as_of)],
        _health(health_url),
        _airflow(url),
    )


def back(due: datetime, published_at: datetime, data_as_of: datetime | None, *, url: str, health_url: str) -> Message:
    """What was late has been published."""
    return _notice(
        BACK,
        "✅ Greenery data is published again",
        [f"What was due at {words.moment(due)} came {words.delay(published_at - due)} later.", _seen(data_as_of)],
        _health(health_url),
        _airflow(url),
    )


def down(since: datetime, problem: str | None, *, health_url: str) -> Message:
    """The warehouse can't be reached, so nobody can say what was published."""
    return _notice(
        LATE,
        "🔴 Greenery data: the warehouse can't be reached",
        [
            f"Nobody can query the data, since {words.moment(since)} at the latest.",
            *([short(problem, LONGEST_REASON)] if problem else []),
        ],
        _health(health_url),
    )


def up(since: datetime, at: datetime, *, health_url: str) -> Message:
    """The warehouse can be reached again."""
    headline = "✅ Greenery data: the warehouse can be reached again"
    return _notice(BACK, headline, [f"It was out of reach for {words.delay(at - since)}."], _health(health_url))


def backup_late(due: datetime, last: Made | None, *, health_url: str) -> Message:
    """No backup was made when one was due. `last` is the newest there is."""
    return _notice(
        LATE,
        f"🔴 Greenery backups: none was made since {words.moment(due)}, when one was due",
        [
            f"The last one is as of {words.moment(last.made_at)}." if last else "There is none at all.",
            "What was recorded since then exists once. The log of the service backup says why none is made.",
        ],
        _health(health_url),
    )


def backup_back(made: Made, *, health_url: str) -> Message:
    """What was late has been saved."""
    line = f"The last one is as of {words.moment(made.made_at)}."
    return _notice(BACK, "✅ Greenery backups are made again", [line], _health(health_url))


def progress(run_id: str, layer: str, *, url: str, health_url: str) -> Message:
    """How far a run is: at `layer`."""
    at = LAYERS.index(layer)
    steps = [f"✔ {name}" for name in LAYERS[:at]] + [f"▶ {layer}"] + [f"· {name}" for name in LAYERS[at + 1 :]]
    headline = f"⏳ Greenery data: a run is under way, {layer} ({at + 1} of {len(LAYERS)})"
    return _notice(PROGRESS, headline, ["   ".join(steps)], _health(health_url), _airflow(url), footer=f"run {run_id}")


def decided(decision: Decision, live: Publication | None, summary: Summary | None = None) -> Message:
    """What is said at once of a decision that somebody took by hand, with what moved where it published a run."""
    seen = "Nothing has been published yet."
    if live:
        seen = f"People query the data as of {words.moment(live.data_as_of)}."
    return compose(
        decision.action,
        f"✋ Greenery data: {_DECIDED.get(decision.action, decision.action)}",
        filter(None, [[(by_hand(decision),), (seen,)], moved.lines(summary, keys=False) if summary else []]),
        (f"decision {decision.decision_id}",),
    )


def unreachable(run_id: str, run_url: str, problem: str | None) -> Message:
    """What is said where not even the warehouse could be asked what happened."""
    headline = "🔴 Greenery data: the warehouse can't be reached"
    return _bare(headline, "Nobody can query the data, and this run could not end.", run_id, run_url, problem)


def unreported(run_id: str, run_url: str, problem: str | None) -> Message:
    """What is said where a run can't be summed up: silence would look as if all were well."""
    headline = "🔴 Greenery data: a run ended, and what became of it can't be told"
    return _bare(headline, "Its page says what failed. The report has to be mended.", run_id, run_url, problem)


def by_hand(decision: Decision) -> str:
    """What somebody decided, when and why, in a sentence."""
    what = _DECIDED.get(decision.action, decision.action)
    who, when = short(decision.by, 120), words.moment(decision.decided_at)
    return f"{what[0].upper()}{what[1:]} by {who} on {when}: {short(decision.reason)}"


def of_run(run_id: str, run_url: str) -> Line:
    """The link to a run, and its id."""
    return (Link("Open the run in Airflow", run_url), f" · run {short(run_id, 120)}")


def _notice(kind: str, headline: str, lines: list[str], *links: Link, footer: str = WATCHDOG) -> Message:
    ending = [piece for link in links for piece in (link, " · ")]
    return compose(kind, headline, [[(line,) for line in lines]], (*ending, footer))


def _health(url: str) -> Link:
    return Link("Data health", url)


def _airflow(url: str) -> Link:
    return Link("Open Airflow", url)


def _seen(data_as_of: datetime | None) -> str:
    return (
        f"Stakeholders see the data as of {words.moment(data_as_of)}." if data_as_of else "Nothing was ever published."
    )


def _bare(headline: str, line: str, run_id: str, run_url: str, problem: str | None) -> Message:
    lines: Section = [(line,), *([(Code(short(problem)),)] if problem else [])]
    return compose("failed", headline, [lines], of_run(run_id, run_url))
