"""Causes that are ours: what of the models, of raw as a whole, or of history is otherwise than at the last publish.

Which figures a cause changed, nobody knows: it is told of those that moved, and that can depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import cursor as Cursor

from include import raw
from include.dbt_project import metrics
from include.dbt_project.counted import Counted
from include.dbt_project.manifest import Manifest
from include.receipts.basis import checksum
from include.receipts.move import Cause
from include.settings import BUILT, LIVE

MACROS_CHANGED = Cause("model", "a macro or a variable of the models changed")
# So many names a clause has; the others it counts.
_NAMED = 3


@dataclass(frozen=True)
class Ours:
    """What there is: causes for every metric, and the models that changed, by unique id.

    `ways` are how metrics are counted by rows, by their names.
    """

    of_all: tuple[Cause, ...]
    changed: frozenset[str]
    manifest: Manifest
    ways: Mapping[str, Counted]

    def of(self, metric: str) -> tuple[Cause, ...]:
        """Those on which a metric can depend.

        A model is one that its values come from, by way of the model whose rows it counts, where that is known.
        """
        table = metrics.model(self.manifest)
        if not self.changed or table is None:
            return self.of_all
        found = self.changed & {table, *self.manifest.upstream(table)}
        if how := self.ways.get(metric):
            rows = {measure.unique_id for measure in how.measures}
            before = {one for model in rows for one in self.manifest.upstream(model)}
            found = {one for one in found if one in rows | before or rows & self.manifest.upstream(one)}
        names = sorted(self.manifest.title(one) for one in found)
        return (*self.of_all, *((_of_models(names),) if names else ()))


def causes(connection: Connection, manifest: Manifest, ways: Mapping[str, Counted]) -> Ours:
    """What is otherwise in what is about to be published. Call before the exchange; only reads."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select publication_id, published_at, schema_oid, macros from ops.publications"
            " order by publication_id desc limit 1"
        )
        if (last := cursor.fetchone()) is None:
            return Ours((), frozenset(), manifest, ways)
        publication_id, published_at, schema_oid, macros = last
        found = []
        if schema_oid == 0:  # as a restore leaves it
            found.append(Cause("history", "the warehouse was restored from a backup"))
        cursor.execute(
            "select exists (select from ops.decisions where action = 'accept history' and decided_at > %s)",
            (published_at,),
        )
        if cursor.fetchone()[0]:
            found.append(Cause("history", "the snapshots were restored or changed, and accepted"))
        if anew := _made_anew(cursor):
            found.append(Cause("raw", f"{_listed(anew)} {'was' if len(anew) == 1 else 'were'} emptied or made anew"))
        if macros is not None and macros != manifest.macros_hash:
            found.append(MACROS_CHANGED)
        changed = _changed(cursor, publication_id, manifest)
        if not found and not changed and _is_rebuilt(cursor):
            found.append(Cause("rebuilt", "everything was built anew"))
        return Ours(tuple(found), changed, manifest, ways)


def _changed(cursor: Cursor, publication_id: int, manifest: Manifest) -> frozenset[str]:
    """Models that are new or whose file changed; where one is gone, what read it has changed."""
    cursor.execute(
        "select unique_id, checksum from ops.publication_models where publication_id = %s", (publication_id,)
    )
    former = dict(cursor.fetchall())
    if not former:
        return frozenset()
    return frozenset(one for one in manifest.drawn if former.get(one) != checksum(manifest.nodes[one]))


def _made_anew(cursor: Cursor) -> list[str]:
    """Raw tables that lie in another file than when what is live was built (`include.daily.buffers`)."""
    cursor.execute(
        """
        select built.source
        from ops.watermarks as built
        join ops.watermarks as live using (source)
        where built.schema_oid = to_regnamespace(%s)::oid and live.schema_oid = to_regnamespace(%s)::oid
            and built.file <> live.file
        order by built.source
        """,
        (BUILT, LIVE),
    )
    return [raw.called(source) for (source,) in cursor.fetchall()]


def _is_rebuilt(cursor: Cursor) -> bool:
    """Whether all that could go on from rows of before was built in full, and what is live was not.

    Whatever makes one buffer be built anew, as the first days of a shop do, makes the other so the next day.
    """
    cursor.execute(
        """
        select
            bool_and(rebuilt) filter (where schema_oid = to_regnamespace(%s)::oid)
            and not bool_and(rebuilt) filter (where schema_oid = to_regnamespace(%s)::oid)
        from ops.buffer_models
        where checksum is not null
        """,
        (BUILT, LIVE),
    )
    return cursor.fetchone()[0] or False


def _of_models(names: Sequence[str]) -> Cause:
    return Cause("model", f"{'model' if len(names) == 1 else 'models'} {_listed(names)} changed")


def _listed(names: Sequence[str]) -> str:
    """Names in words: "a, b and c", "a, b, c and 2 more"."""
    more = len(names) - _NAMED
    *first, last = (*names[:_NAMED], f"{more} more") if more > 0 else names
    return f"{', '.join(first)} and {last}" if first else last
