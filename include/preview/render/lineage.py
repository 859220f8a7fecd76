"""The picture of what a change touches, in Mermaid's language: at most so many boxes, the others counted by owner."""

from __future__ import annotations

import re

from include.preview.report import Kind, Plan, Report

SHOWN, OWNERS = 40, 4
# Mermaid draws nothing where there are more than 500.
ARROWS = 400
_COLOURS = {
    "failed": "fill:#ffebe9,stroke:#cf222e,stroke-width:3px",
    "changed": "fill:#fff8c5,stroke:#9a6700",
    "new": "fill:#dafbe1,stroke:#1a7f37",
    "gone": "fill:#eaeef2,stroke:#57606a,stroke-dasharray:4",
    "downstream": "fill:#ddf4ff,stroke:#0969da",
    "exposure": "fill:#fbefff,stroke:#8250df",
}
# Those that explain a change come first where there is no room for all.
_FIRST = (Kind.CHANGED, Kind.NEW, Kind.GONE, Kind.DOWNSTREAM)


def mermaid(report: Report) -> str:
    """The graph of models and of the exposures that stand on them; "" where no model's rows are touched."""
    plan = report.plan
    touched = [one for one in plan.models if one.kind is not Kind.COMMENTS]
    if not touched:
        return ""
    shown = sorted(touched, key=lambda one: _FIRST.index(one.kind))[: SHOWN - min(len(plan.exposures), SHOWN // 4)]
    rest = [one for one in touched if one not in shown]
    failed = {one.name for one in report.failed}
    ids = {one.name: f"m{number}" for number, one in enumerate(shown)}
    lines = ["flowchart LR"]
    for one in shown:
        lines.append(
            f'    {ids[one.name]}["{_label(one.name)}"]:::{"failed" if one.name in failed else one.kind.value}'
        )
    owners = {one.owner or "" for one in rest}
    by_owner = {one.name: (one.owner or "") if len(owners) <= OWNERS else "" for one in rest}
    for number, owner in enumerate(dict.fromkeys(by_owner.values())):
        of_owner = [one for one in rest if by_owner[one.name] == owner]
        whose = f" of {_label(owner)}" if owner else ""
        lines.append(f'    r{number}["and {len(of_owner)} more{whose}"]:::downstream')
        ids |= {one.name: f"r{number}" for one in of_owner}
    lines += _exposures(plan, ids)
    used = {line.rsplit(":::", 1)[1] for line in lines if ":::" in line}
    lines += [f"    classDef {kind} {colour},color:#1f2328" for kind, colour in _COLOURS.items() if kind in used]
    return "\n".join(lines)


def legend(report: Report) -> str:
    """What the colours mean."""
    failed = {one.name for one in report.failed}
    kinds = {one.kind for one in report.plan.models if one.name not in failed}
    said = [
        "red: can't be built" if report.failed else "",
        "yellow: changed" if Kind.CHANGED in kinds else "",
        "green: new" if Kind.NEW in kinds else "",
        "dashed: gone" if Kind.GONE in kinds else "",
        "blue: reads what changes" if Kind.DOWNSTREAM in kinds else "",
        "round: a dashboard or another use" if report.plan.exposures else "",
    ]
    return ", ".join(filter(None, said)).capitalize() + "."


def _exposures(plan: Plan, ids: dict[str, str]) -> list[str]:
    exposures = plan.exposures[: SHOWN // 4]
    lines = [f'    e{at}(["{_label(one.label)}"]):::exposure' for at, one in enumerate(exposures)]
    arrows = [(ids[source], ids[target]) for source, target in plan.edges if source in ids and target in ids]
    arrows += [
        (ids[name], f"e{at}") for at, one in enumerate(exposures) for name in _ends(one.models, plan) if name in ids
    ]
    lines += [
        f"    {source} --> {target}" for source, target in list(dict.fromkeys(arrows))[:ARROWS] if source != target
    ]
    return lines


def _ends(models: tuple[str, ...], plan: Plan) -> list[str]:
    """Of the models that an exposure reads, those that none of the others reads: an arrow from each would hide them."""
    read = {source for source, target in plan.edges if target in models}
    return [name for name in models if name not in read]


def _label(text: str) -> str:
    """A name in quotes: Mermaid takes several characters for a language of its own, or for HTML."""
    return re.sub(r"[^\w .,:/()-]", "?", text)[:60].strip() or "?"
