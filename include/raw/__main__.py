"""Creates the raw tables where they are missing: the schema, the tables and the views that the mapping asks for.

    python -m include.raw

Nothing is changed while a run reads them.
"""

from __future__ import annotations

import sys

from include import raw, settings
from include.raw import lease, mapping
from include.raw.contract import BOOKKEEPING, TABLES
from include.warehouse import connect


def main() -> int:
    """Create what is missing in the warehouse that the environment names; 1 where that can't be done now."""
    try:
        with connect("greenery raw", settings.warehouse_admin()) as connection, connection.cursor() as cursor:
            mapped = mapping.to_show()
            lease.lock_raw(cursor)
            held = lease.held(cursor)
            # It would read one half by the views of before, the other by these.
            if held and mapping.differing(cursor, mapped):
                raise lease.LeaseHeldError(
                    f"{held.holder} reads the raw tables since {held.taken_at:%d %b %H:%M} UTC; nothing was changed. "
                    f"Call this again when it has ended, or after {held.until:%d %b %H:%M} UTC if it died"
                )
            mapping.show(cursor, mapped)
            raw.create(cursor, besides=mapped)
    except (mapping.MappingError, lease.LeaseHeldError) as error:
        print(error, file=sys.stderr)
        return 1
    for name in (*TABLES, *BOOKKEEPING):
        print(f"{raw.called(name)}: {mapped[name].told if name in mapped else 'a table'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
