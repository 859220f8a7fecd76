"""The page *I want to …* answers enough wishes, each with a file; that files exist is asked in `test_docs.py`."""

from __future__ import annotations

import re

from include.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "i-want-to.md"
WISH = re.compile(r"^\* \*\*(.+?)\*\* → \[`(.+?)`\]\((.+?)\)<br>$", re.MULTILINE)


def test_at_least_thirty_wishes_are_answered() -> None:
    wishes = [wish for wish, _, _ in WISH.findall(PAGE.read_text())]
    assert len(wishes) == len(set(wishes)) >= 30


def test_every_wish_names_where_to_look() -> None:
    begun = re.findall(r"^\* \*\*(.+?)\*\*", PAGE.read_text(), re.MULTILINE)
    assert begun == [wish for wish, _, _ in WISH.findall(PAGE.read_text())]


def test_a_link_is_called_by_the_file_that_it_leads_to() -> None:
    wrong = []
    for _, name, link in WISH.findall(PAGE.read_text()):
        if (PAGE.parent / link.partition("#")[0]).resolve() != PROJECT_ROOT / name:
            wrong.append(link)
    assert wrong == []


def test_every_constant_that_is_named_with_its_file_is_in_it() -> None:
    """`NAME` in a wish is a setting, or stands in a file that the wish links to or names."""
    settings = (PROJECT_ROOT / ".env.example").read_text()
    lacking = []
    for wish in re.split(r"^(?=\* \*\*)", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        files = [(PAGE.parent / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)#\s]+)", wish)]
        files += [PROJECT_ROOT / name for name in re.findall(r"`(tests/[\w./]+\.py)`", wish)]
        texts = [settings, *(file.read_text() for file in files if file.is_file())]
        for name in re.findall(r"`(_?[A-Z][A-Z_]+)`", wish):
            if not any(re.search(rf"\b{name}\b", text) for text in texts):
                lacking.append(name)
    assert lacking == []
