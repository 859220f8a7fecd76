"""`make digests`: writes behind the tag of each image that is not ours the digest that its registry has for it now.

A tag can be given to another image some day, a digest can't. They stand in the Dockerfile and docker-compose.yaml, to
be committed; where a registry does not answer, nothing is changed. Asks with docker's buildx, on a machine that has it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FILES = (Path("Dockerfile"), Path("docker-compose.yaml"))
# Behind `BASE_IMAGE=` or `POSTGRES_IMAGE:-`: a name with its tag, and the former digest. Our own is built.
IMAGE = re.compile(r"(?P<setting>\b(?!AIRFLOW_)\w+_IMAGE:?[-=])(?P<tag>[\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class NoDigestError(Exception):
    """A registry, or docker, did not say which image has a tag."""


def digest_of(tag: str) -> str:
    """What the registry has behind a tag now, for all kinds of machines. Raises NoDigestError."""
    ask = ["docker", "buildx", "imagetools", "inspect", "--format", "{{println .Manifest.Digest}}", tag]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoDigestError(f"docker could not be asked for the digest of {tag}: {error}") from error
    if done.returncode or not DIGEST.fullmatch(done.stdout.strip()):
        raise NoDigestError(f"docker did not tell the digest of {tag}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def main() -> int:
    """The command, in the folder of the project."""
    texts = {file: file.read_text() for file in FILES}
    tags = sorted({found["tag"] for text in texts.values() for found in IMAGE.finditer(text)})
    try:
        digests = {tag: digest_of(tag) for tag in tags}
    except NoDigestError as error:
        print(
            f"{error}\nNo file was changed. Log in to the registry if it asks for that, then try again.",
            file=sys.stderr,
        )
        return 1
    for file, text in texts.items():
        file.write_text(IMAGE.sub(lambda found: f"{found['setting']}{found['tag']}@{digests[found['tag']]}", text))
    for tag, digest in digests.items():
        print(f"{tag}@{digest}")
    print("Written into the Dockerfile and docker-compose.yaml: test the image, then commit both.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
