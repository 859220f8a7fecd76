"""What docs/own-project.md says, as tests follow it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml

from include.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs/own-project.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def follow(project: Path) -> None:
    """Do to a project's files what the page says."""
    copy, *_ = blocks("sh")
    environment = os.environ | {"PROJECT": str(project)}
    subprocess.run(["sh", "-euc", copy], cwd=PROJECT_ROOT, env=environment, check=True)
    [settings] = blocks("yaml")
    file = project / "dbt_project.yml"
    content = yaml.safe_load(file.read_text())
    for kind, values in yaml.safe_load(settings).items():
        content[kind] = content.get(kind, {}) | values
    file.write_text(yaml.safe_dump(content))
