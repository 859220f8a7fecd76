"""Pictures of lineage, as SVG: what one node comes from and leads to, and what a change of the project touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from markupsafe import Markup

from include import settings, words

# In pixels; letters are drawn as wide as this, whatever the font.
_LETTER, _HEIGHT, _STEP, _GAP, _INDENT = 7.3, 28, 38, 56, 26


@dataclass(frozen=True)
class _Box:
    name: str
    x: float
    y: float
    width: float
    mark: str = ""  # its class in style.css
    is_link: bool = True

    @property
    def middle(self) -> float:
        return self.y + _HEIGHT / 2


def picture(name: str, upstream: Sequence[str], downstream: Sequence[str]) -> Markup:
    """Three columns, and a tree for narrow screens; style.css shows the one that fits. Names link to their pages."""
    told = f"{name} comes from {_count(upstream)} and leads to {_count(downstream)}; the lists below name them."
    return _svg("wide", told, *_columns(name, upstream, downstream)) + _svg(
        "narrow", told, *_tree(name, upstream, downstream)
    )


def touched(edges: Iterable[tuple[str, str]], marks: Mapping[str, str]) -> Markup:
    """What a change touches, with what stands beside it: a column for each step, what is read left of what reads it.

    `marks` are the classes of what is touched, by name; what is gone has no page.
    """
    lines = [edge for edge in edges if edge[0] != edge[1]]
    columns = _steps({*marks, *(name for edge in lines for name in edge)}, lines)
    height = max((len(column) for column in columns), default=1) * _STEP
    boxes: dict[str, _Box] = {}
    x = 0.0
    for column in columns:
        for box in _stack(column, x, height):
            mark = marks.get(box.name, "")
            boxes[box.name] = replace(box, mark=mark, is_link=mark != "gone")
        x += _width(column) + _GAP
    curves = [
        _curve(boxes[parent].x + boxes[parent].width, boxes[parent].middle, boxes[child].x, boxes[child].middle)
        for parent, child in lines
    ]
    told = f"{words.count(len(marks), 'model')} and what stands beside them; the table above names them."
    return _svg("touched", told, list(boxes.values()), curves, max(x - _GAP, 0), height)


def _steps(names: Iterable[str], lines: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The names in columns, each behind all that it reads; two states of a project together may read in a circle."""
    steps = dict.fromkeys(sorted(names), 0)
    for _ in steps:
        former = dict(steps)
        for parent, child in lines:
            steps[child] = max(steps[child], steps[parent] + 1)
        if steps == former:
            break
    readers = {name: [child for parent, child in lines if parent == name] for name in steps}
    read = {child for _, child in lines}
    for name in steps.keys() - read:  # what reads nothing here stands beside what reads it
        steps[name] = max(min((steps[child] for child in readers[name]), default=1) - 1, 0)
    columns = [[name for name in steps if steps[name] == step] for step in sorted(set(steps.values()))]
    rows: dict[str, float] = {}
    for column in reversed(columns):  # each as high as what reads it, so that few lines cross
        height = {name: fmean(rows.get(child, 0) for child in readers[name] or [""]) for name in column}
        column.sort(key=height.__getitem__)
        rows |= {name: row - len(column) / 2 for row, name in enumerate(column)}
    return columns


def _count(names: Sequence[str]) -> str:
    return words.count(len(names), "other") if names else "nothing here"


def _columns(
    name: str, upstream: Sequence[str], downstream: Sequence[str]
) -> tuple[list[_Box], list[str], float, float]:
    height = max(len(upstream), len(downstream), 1) * _STEP
    left = _stack(upstream, 0, height)
    [this] = _stack([name], max((box.width for box in left), default=-_GAP) + _GAP, height)
    this = replace(this, mark="this", is_link=False)
    right = _stack(downstream, this.x + this.width + _GAP, height)
    lines = [_curve(box.x + box.width, box.middle, this.x, this.middle) for box in left]
    lines += [_curve(this.x + this.width, this.middle, box.x, box.middle) for box in right]
    return [*left, this, *right], lines, max(box.x + box.width for box in (this, *right)), height


def _stack(names: Sequence[str], x: float, height: float) -> list[_Box]:
    top = (height - len(names) * _STEP) / 2
    width = _width(names)
    return [_Box(name, x, top + row * _STEP + (_STEP - _HEIGHT) / 2, width) for row, name in enumerate(names)]


def _tree(name: str, upstream: Sequence[str], downstream: Sequence[str]) -> tuple[list[_Box], list[str], float, float]:
    names = [*upstream, name, *downstream]
    boxes = [
        _Box(one, 0 if row == len(upstream) else _INDENT, row * _STEP + 2, _width([one]))
        for row, one in enumerate(names)
    ]
    this, trunk = replace(boxes[len(upstream)], mark="this", is_link=False), _INDENT / 2
    boxes[len(upstream)] = this
    lines = [
        f"M{box.x:g},{box.middle:g} H{trunk:g} V{this.y if box.y < this.y else this.y + _HEIGHT:g}"
        for box in boxes
        if box is not this
    ]
    return boxes, lines, max(box.x + box.width for box in boxes), len(names) * _STEP


def _width(names: Sequence[str]) -> float:
    return max((len(name) for name in names), default=0) * _LETTER + 20


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (to_x - x) / 2
    return f"M{x:g},{y:g} C{x + half:g},{y:g} {to_x - half:g},{to_y:g} {to_x:g},{to_y:g}"


def _svg(kind: str, told: str, boxes: list[_Box], lines: list[str], width: float, height: float) -> Markup:
    drawn = Markup("").join(Markup('<path d="{}"/>').format(line) for line in lines)
    drawn += Markup("").join(_drawn(box) for box in boxes)
    return Markup(
        '<svg class="lineage {}" role="group" aria-label="{}" width="{:.0f}" height="{:.0f}"'
        ' viewBox="-2 -2 {:.0f} {:.0f}">{}</svg>'
    ).format(kind, told, width + 4, height + 4, width + 4, height + 4, drawn)


def _drawn(box: _Box) -> Markup:
    letters = len(box.name) * _LETTER
    inside = Markup(
        '<rect x="{:g}" y="{:g}" width="{:g}" height="{}" rx="6"/>'
        '<text x="{:g}" y="{:g}" textLength="{:g}" lengthAdjust="spacingAndGlyphs">{}</text>'
    ).format(box.x, box.y, box.width, _HEIGHT, box.x + 10, box.middle + 4.5, letters, box.name)
    if box.is_link:
        inside = Markup('<a href="{}">{}</a>').format(settings.health_path("models", box.name), inside)
    return Markup('<g class="{}">{}</g>').format(box.mark, inside) if box.mark else inside
