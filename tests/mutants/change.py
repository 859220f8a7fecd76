"""What somebody may write wrongly in a model or a macro: each mutant is one small change of its text.

Jinja is read as the SQL that it stands in, since most of what is in its quotes is SQL. What a comment or the
`config` of a model says is left alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

# But for a precision and an indentation.
_NUMBER = r"(?<=[ (])(?<!\d, )(?<!indent\()(\d+)(?=[ ,)\n])(?!, \d+\))"
# By kind: what is found in the text, and what takes its place.
RULES: dict[str, list[tuple[str, str | Callable[[re.Match[str]], str]]]] = {
    "operator": [
        (r" < ", " <= "),
        (r" <= ", " < "),
        (r" > ", " >= "),
        (r" >= ", " > "),
        (r" = ", " <> "),
        (r" <> ", " = "),
        (r" == ", " != "),
        (r" != ", " == "),
        (r" \+ ", " - "),
        (r" - ", " + "),
        (r"(?<!select) \* (?=[\d{(a-z])", " / "),
        (r" / ", " * "),
        (r"\band\b", "or"),
        (r"\bor\b(?! replace)", "and"),
        (r"\bis null\b", "is not null"),
        (r"\bis not null\b", "is null"),
        (r"\bnot (?!in\b|null\b|exists\b|distinct\b)", ""),
        (r"(?<!not) in \(", " not in ("),
        (r"(?<!not) between ", " not between "),
    ],
    "join": [(r"\bleft join\b", "inner join"), (r"\binner join\b", "left join")],
    "filter": [
        (r"\bwhere\b", "where true or"),
        (r"\n +and [^\n]+(?=\n)", ""),
        (r"\bhaving\b", "having true or"),
        (r"\{\{ only_changed\(.*?\) \}\}", ""),
    ],
    "key": [
        (r"(?<=partition by )[\w.]+, ", ""),
        (r"(?<=order by )([\w.]+)(?=\))", r"\1 desc"),
        (r"(?<=order by )([\w.]+, )(?=[\w.{ }]+\))", ""),
        (r"(?<=order by )([\w.]+)(, [\w.{ }]+)(?=\))", r"\1"),
        (r"\bselect distinct\b", "select"),
        (r"\bcount\(distinct ", "count("),
        (r"\bunion distinct\b", "union all"),
        (r"\bunion all\b", "union"),
        (r"\bexcept all\b", "except"),
    ],
    "function": [
        (r"\bmin\(", "max("),
        (r"\bmax\(", "min("),
        (r"\bsum\(", "max("),
        (r"\bcount\((?!distinct|case)[\w.]+\)", "count(*)"),
        (r"\blag\(", "lead("),
        (r"\blead\(", "lag("),
        (r"\bgreatest\(", "least("),
        (r"\bleast\(", "greatest("),
        (r"\bcoalesce\(([\w.]+), (?!0)[\w.']+\)", r"\1"),
        (r"\bcoalesce\([\w.]+, ([a-z][\w.]+)\)", r"\1"),
        (r"\b(lower|trim|abs)\((?=\w)", "("),
    ],
    "interval": [
        (r"'day'", "'hour'"),
        (r"'second'", "'minute'"),
        (r"'minute'", "'second'"),
        (r"'millisecond'", "'second'"),
    ],
    "constant": [
        (_NUMBER, lambda found: str(int(found[1]) + 1)),
        (r"(?<=[ (])(\d+)\.\d+\b", lambda found: f"{int(found[1]) + 1}.0"),
        (r"\btrue\b", "false"),
        (r"\bfalse\b", "true"),
        (r"(?<=[=>] ')(\w+)'", r"\1_'"),
        (r"(?<=then ')([\w ]+)'", r"\1_'"),
    ],
    "branch": [
        (r"\n +when [^\n]+ then [^\n]+(?=\n)", ""),
        (r" else [\w.']+ end\b", " end"),
        (r"(?<=\{%- if )(.+?)(?= -?%\})", r"not (\1)"),
        (r"(?<=\{% if )(.+?)(?= -?%\})", r"not (\1)"),
        (r"(?<=\{%- elif )(.+?)(?= -?%\})", r"not (\1)"),
        (r" if (not )?([\w.() ]+?) else ", r" if not (\1\2) else "),
    ],
}
# Left out of a union, with the word that joins it: each of its branches.
_UNION = re.compile(r"\n\s*union (?:all|distinct)\n")
# A line of a select list that passes a column on, perhaps under another name.
_PASSED = re.compile(r"^(?P<left> +)(?P<column>(?:\w+\.)?\w+)(?: as (?P<name>\w+))?(?P<comma>,?)$", re.MULTILINE)
_NO_COLUMN = {"select", "from", "false", "true", "null", "end", "case", "union", "with", "select distinct"}
_LEFT_ALONE = re.compile(r"\{#.*?#\}|--[^\n]*|\{\{ config\(.*?\n?\) \}\}", re.DOTALL)


@dataclass(frozen=True)
class Mutant:
    """One change of the text of a model or a macro. `node` names that one, `name` the mutant among all of them."""

    node: str
    kind: str
    name: str
    start: int
    end: int
    text: str

    def of(self, code: str) -> str:
        """The code with the change."""
        return code[: self.start] + self.text + code[self.end :]

    def shown(self, code: str) -> str:
        """The lines that change, as they are and as they become; with the one before, since many lines are alike."""
        first = code.rfind("\n", 0, max(0, code.rfind("\n", 0, self.start))) + 1
        last = code.find("\n", self.end)
        last = len(code) if last < 0 else last
        before = " ".join(code[first:last].split())
        after = " ".join((code[first : self.start] + self.text + code[self.end : last]).split())
        return f"{before} -> {after or 'nothing'}"


def mutants(node: str, code: str) -> Iterator[Mutant]:
    """All mutants of a text, each with a name that stays while the rest of the text does."""
    seen, numbers = {code}, Counter[str]()
    for kind, start, end, text in sorted(_changes(code)):
        mutant = Mutant(node, kind, f"{node}.{kind}.{numbers[kind] + 1}", start, end, text)
        if mutant.of(code) not in seen:
            seen.add(mutant.of(code))
            numbers[kind] += 1
            yield mutant


def _changes(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Kind, beginning and end of what is changed, and what takes its place."""
    read = _LEFT_ALONE.sub(lambda found: re.sub(r"[^\n]", "\0", found[0]), code)
    for kind, rules in RULES.items():
        for pattern, becomes in rules:
            for found in re.finditer(pattern, read):
                text = becomes(found) if callable(becomes) else found.expand(becomes)
                if not _names_a_variable(read, found.start()):
                    yield kind, found.start(), found.end(), text
    yield from _branches(read)
    yield from _columns(read)


def _names_a_variable(read: str, at: int) -> bool:
    """`{% set x = 1 %}` is no comparison."""
    return bool(re.search(r"\{%-? set [\w.]+(, \w+)*$", read[max(0, at - 80) : at]))


def _branches(read: str) -> Iterator[tuple[str, int, int, str]]:
    """Each select of a union left out, with the word that joins it. The first one begins behind a blank line."""
    for found in _UNION.finditer(read):
        before = read[: found.start()].rstrip()
        begin = before.rfind("\n\n")
        if begin > 0 and "union" not in before[max(0, begin - 20) :] and "{%" not in before[begin:]:
            yield "branch", begin, found.end(), "\n\n"
        if after := re.search(r"\n\s*(?:\)|union|\{%)|\Z", read[found.end() :]):
            yield "branch", found.start(), found.end() + after.start(), ""


def _columns(read: str) -> Iterator[tuple[str, int, int, str]]:
    """A column that another one of the same list is passed on as: the next one, the last one gets the first."""
    for passed in _lists(read):
        for this, other in zip(passed, [*passed[1:], passed[0]], strict=True):
            if this["column"] != other["column"]:
                name = this["name"] or this["column"].rpartition(".")[2]
                yield "column", this.start("column"), this.end() - len(this["comma"]), f"{other['column']} as {name}"


def _lists(read: str) -> Iterable[list[re.Match[str]]]:
    """Runs of lines that pass on a column each."""
    runs: list[list[re.Match[str]]] = []
    for found in _PASSED.finditer(read):
        if found["column"] in _NO_COLUMN:
            continue
        if runs and runs[-1][-1].end() + 1 == found.start():
            runs[-1].append(found)
        else:
            runs.append([found])
    return [run for run in runs if len(run) > 1]
