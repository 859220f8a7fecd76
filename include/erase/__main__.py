"""Forget a person: takes a user out of raw, snapshots, marts and what runs said, and leaves a stand-in.

    python -m include.erase --user ID --reason "asked for it in ticket 12" > certificate.json
    python -m include.erase --again certificate.json …

Orders and every figure stay as they are, and no load brings the person back. Runs and loads wait meanwhile. The
certificate on stdout counts what was changed, and names nobody: keep it for as long as backups live. After a restore,
--again carries out what the backup does not know of: the certificates that are given, and what the restore kept aside.
Where something stays that may hold who was erased, as a sandbox that is in use or a backup, it says so and ends with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path

from include import settings
from include.erase import erasure
from include.erase.erasure import Again, Certificate
from include.erase.places import EraseError
from include.erase.stand_in import CertificateError
from include.warehouse.login import at_a_shell


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 where it was done, 1 where it was refused or something stayed, with a sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m include.erase", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--user", metavar="ID", help="whom to forget, by raw.users.user_id")
    what.add_argument("--again", nargs="*", type=Path, metavar="FILE", help="after a restore: certificates")
    parser.add_argument("--reason", default="", help="why; the certificate keeps it")
    options = parser.parse_args(arguments)
    try:
        if options.user is None:
            told = [json.loads(file.read_text()) for file in options.again]
            done = erasure.again(told, at_a_shell, settings.warehouse_admin())
            print(again_in_words(done), file=sys.stderr)
            return 1 if done.stayed else 0
        certificate = erasure.erase(options.user, options.reason, at_a_shell, settings.warehouse_admin())
        print(certificate.as_json())
        print(in_words(certificate), file=sys.stderr)
    except (EraseError, CertificateError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"A certificate can't be read, so nothing was erased: {error}", file=sys.stderr)
        return 1
    return 0


def in_words(certificate: Certificate) -> str:
    """A certificate for a person."""
    counted = ", ".join(f"{rows:,} in {table}" for table, rows in certificate.changed.items())
    told = f"Erased (certificate {certificate.erasure_id}); rows changed: {counted}."
    return told + _of_sandboxes(certificate.dropped) + _of_others(certificate.not_looked_at)


def again_in_words(done: Again) -> str:
    """What erasing once more came to, for a person: what stayed has a line each."""
    told = f"Erased again: {done.people}.{_of_sandboxes(done.dropped)}{_of_others(done.not_looked_at)}"
    return "\n".join([told, *_of_what_stayed(done.stayed)])


def _of_sandboxes(dropped: Collection[str]) -> str:
    """What to say of sandboxes that went, behind another sentence; nothing where none did."""
    if not dropped:
        return ""
    return f" Dropped, as they may have held who was erased: {', '.join(dropped)}. They can be built again."


def _of_what_stayed(stayed: Collection[str]) -> list[str]:
    """What to say of what may still hold who was erased, a line each; nothing where all is gone."""
    if not stayed:
        return []
    return ["Not all is erased. Who was erased may still be in what follows; call this again when it is gone:", *stayed]


def _of_others(schemas: Collection[str]) -> str:
    """What to say of schemas that nobody has read, behind another sentence; nothing where there are none."""
    if not schemas:
        return ""
    return f" Not looked at, as they are not ours: schema {', '.join(schemas)}. Ask their owners."


if __name__ == "__main__":
    sys.exit(main())
