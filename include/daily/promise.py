"""The promise of a day, which is that its data is published in time, and whether it is at risk by what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import connection as Connection

# The message that says so.
AT_RISK = "at risk"


@dataclass(frozen=True)
class AtRisk:
    """A warning that was given: of the run that was due at `due`, with the promise to publish by `by`.

    `published_at` is when new data was published after that; None where none was yet.
    """

    due: datetime
    by: datetime
    said_at: datetime
    why: str
    published_at: datetime | None

    @property
    def was_right(self) -> bool:
        """Whether nothing was published in time."""
        return self.published_at is None or self.published_at > self.by


def warnings(connection: Connection) -> list[AtRisk]:
    """All that were given and are still kept, the newest first. Of one whose time has not come nobody knows yet."""
    raise NotImplementedError
