"""What to do where a connection is refused, by the server, a pooler or us: libpq alone says only what it saw.

Most of it is about TLS. What no line here knows, a wrong password for instance, is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg2

# What libpq or the server says, and what to do; in braces the keywords of libpq, by which settings are named.
_ADVICE = (
    ("invalid sslmode value", "{sslmode} takes disable, allow, prefer, require, verify-ca or verify-full."),
    (
        "root certificate file .* does not exist|could not read root certificate file",
        "{sslrootcert} has to name the file with the certificate of whoever signed the server's.",
    ),
    (
        "certificate verify failed",
        "The server's certificate was not signed by any that is in the file of {sslrootcert}. It is another server, or "
        "the file is out of date: take it anew from whoever runs the server, and do not lower {sslmode}.",
    ),
    (
        "does not match host name",
        "The certificate is another server's. Name the host as its certificate does; do not lower {sslmode}.",
    ),
    (
        "no encryption$",
        "The server takes encrypted connections alone: set {sslmode} to verify-full, and {sslrootcert}.",
    ),
    ("server does not support SSL", "{sslmode} asks for encryption, and this server offers none: turn it on there."),
    (
        "certificate required|requires a valid client certificate|unknown ca|certificate authentication failed",
        "The server wants a certificate that it knows: {sslcert} and {sslkey} name the file of ours, and its key's.",
    ),
    (
        "certificate file .* does not exist|private key file|could not load (private key|certificate) file|"
        "certificate present, but not private key",
        "{sslcert} and {sslkey} have to name a certificate and its key. Nobody but its owner may read the key (0600), "
        "or the group as well where it is root's (0640).",
    ),
    (
        "unsupported startup parameter",
        "That was a pooler. Name the server itself, or let a pooler of sessions pass `options` on.",
    ),
)


def explained(error: psycopg2.OperationalError, setting: Callable[[str], str]) -> psycopg2.OperationalError:
    """The error, with what to do if that is known; `setting` says how a keyword of libpq's is set."""
    said = str(error).strip()
    for pattern, advice in _ADVICE:
        if re.search(pattern, said, re.MULTILINE):
            names = {name: setting(name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")}
            return psycopg2.OperationalError(f"{said}\n{advice.format(**names)}")
    return error
