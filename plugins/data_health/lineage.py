"""A picture of what a node comes from and what it leads to, as SVG: three columns, and a tree for narrow screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    is_this: bool = False

    @property
    def middle(self) -> float:
        return self.y + _HEIGHT / 2


def picture(name: str, upstream: Sequence[str], downstream: Sequence[str]) -> Markup:
    """Both pictures; style.css shows the one that fits. Names link to their pages."""
    told = f"{name} comes from {_count(upstream)} and leads to {_count(downstream)}; the lists below name them."
    return _svg("wide", told, *_columns(name, upstream, downstream)) + _svg(
        "narrow", told, *_tree(name, upstream, downstream)
    )


def _count(names: Sequence[str]) -> str:
    return words.count(len(names), "other") if names else "nothing here"


def _columns(
    name: str, upstream: Sequence[str], downstream: Sequence[str]
) -> tuple[list[_Box], list[str], float, float]:
    height = max(len(upstream), len(downstream), 1) * _STEP
    left = _stack(upstream, 0, height)
    [this] = _stack([name], max((box.width for box in left), default=-_GAP) + _GAP, height)
    this = _Box(name, this.x, this.y, this.width, is_this=True)
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
        _Box(one, 0 if row == len(upstream) else _INDENT, row * _STEP + 2, _width([one]), row == len(upstream))
        for row, one in enumerate(names)
    ]
    this, trunk = boxes[len(upstream)], _INDENT / 2
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
    if box.is_this:
        return Markup('<g class="this">{}</g>').format(inside)
    return Markup('<a href="{}">{}</a>').format(settings.health_path("models", box.name), inside)
