"""By which dimensions a metric is explained, as the project's YAML says it in the `meta` of the metric.

    - name: revenue
      config:
        meta:
          explained_by: [order__promo_id, order_item__product_id]
          factors: {Sessions: sessions, Orders a session: orders, Order value: revenue}

A dimension is named as MetricFlow does, `entity__dimension`. It is one of the model whose rows are counted, or of one
that has a single row for each of them. Rows that are finer than the metric's, as the items of orders are, have a
measure of their own, which says `adds_up_to: revenue` in its `meta`. A dimension's `label` is what people call it; in
its `meta`, `called: product__product_name` says where what people call its values stands, and `missing: no promotion`
what they call it where there is none.

Each factor is its metric divided by the one before, so their product is the last, which is the metric itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from include.dbt_project.counted import Counted, Measure, counted, measured
from include.dbt_project.manifest import Manifest
from include.warehouse import personal

_BY, _FACTORS, _ADDS_UP_TO = "explained_by", "factors", "adds_up_to"


@dataclass(frozen=True)
class Column:
    """A column of a relation, both as SQL, by the `key` that has one row."""

    relation: str
    key: str
    expr: str


@dataclass(frozen=True)
class Side:
    """The rows of a measure, and what item each is of: `item` is SQL on them.

    Where `of` is given, the item is that column, and `item` its key.
    """

    measure: Measure
    item: str
    of: Column | None = None


@dataclass(frozen=True)
class Dimension:
    """What a metric is split by: `sides` are its numerator, and its denominator where it has one.

    `called` has the items' names by the items themselves.
    """

    name: str
    label: str
    sides: tuple[Side, ...]
    called: Column | None
    missing: str


@dataclass(frozen=True)
class Factor:
    """A factor of a metric: `measure` divided by that of the factor before; `metric` is that of the measure."""

    label: str
    metric: str
    measure: Measure


def dimensions(facts: Manifest, metric: str) -> tuple[Dimension, ...]:
    """Those that a metric is explained by, in the order of the YAML; () where its rows can't be counted."""
    names = _meta(_metric(facts, metric)).get(_BY)
    sums = counted(facts).get(metric) if isinstance(names, list) else None
    if sums is None or sums.running:
        return ()
    return tuple(found for one in names if (found := _dimension(facts, sums, one)) and not _is_personal(facts, found))


def factors(facts: Manifest, metric: str) -> tuple[Factor, ...]:
    """The factors of a metric, the last its own; () where it has none."""
    given = _meta(_metric(facts, metric)).get(_FACTORS)
    if not isinstance(given, dict) or list(given.values())[-1:] != [metric]:
        return ()
    sums = counted(facts)
    found = tuple(
        Factor(str(label), str(one), sums[str(one)].numerator)
        for label, one in given.items()
        if _is_sum(sums.get(str(one)))
    )
    return found if len(found) == len(given) else ()


def problems(facts: Manifest) -> Iterator[tuple[str, str]]:
    """What means nothing: the file, and a sentence with the words that mend it."""
    asking = [metric for metric in facts.metrics.values() if not {_BY, _FACTORS}.isdisjoint(_meta(metric))]
    sums = counted(facts) if asking else {}
    for metric in asking:
        for sentence in (*_of_dimensions(facts, metric, sums), *_of_factors(metric, sums)):
            yield metric["original_file_path"], f"metric {metric['name']} {sentence}"


def _of_dimensions(facts: Manifest, metric: Mapping[str, Any], sums: Mapping[str, Counted]) -> Iterator[str]:
    names, one = _meta(metric).get(_BY), sums.get(metric["name"])
    if names is None:
        return
    if not isinstance(names, list):
        yield f"has `{_BY}: {names}` in its `meta`. Give a list of dimensions, such as [order__promo_id]."
    elif one is None or one.running:
        yield (
            f"has `{_BY}` in its `meta`, and a day of it can't be counted by rows: that takes a measure that is a sum, "
            "a count or a mean, or two of them, without a filter. Leave it out."
        )
    else:
        for name in names:
            if (found := _dimension(facts, one, name)) is None:
                known = ", ".join(_known(facts, one)) or "none"
                yield f"is to be explained by {name}, which its rows don't have. They have {known}."
            elif _is_personal(facts, found):
                yield f"is to be explained by {name}, which is personal and never shown. Leave it out."


def _of_factors(metric: Mapping[str, Any], sums: Mapping[str, Counted]) -> Iterator[str]:
    given = _meta(metric).get(_FACTORS)
    if given is None:
        return
    if not isinstance(given, dict) or list(given.values())[-1:] != [metric["name"]]:
        yield (
            f"has `{_FACTORS}: {given}` in its `meta`. Give each factor's label with its metric, the metric itself "
            f"last: {{Sessions: sessions, Value of a session: {metric['name']}}}."
        )
        return
    for label, one in given.items():
        if not _is_sum(sums.get(str(one))):
            yield f"has the factor {label}, and {one} is no metric that is a sum over rows. Name one that is."


def _is_sum(one: Counted | None) -> bool:
    return one is not None and one.denominator is None and not one.running


def _known(facts: Manifest, sums: Counted) -> list[str]:
    """All that its rows can be split by."""
    names = {
        f"{entity['name']}__{dimension['name']}"
        for model in facts.semantic_models.values()
        for entity in model["entities"]
        for dimension in model["dimensions"]
    }
    found = [found for name in sorted(names) if (found := _dimension(facts, sums, name))]
    return [one.name for one in found if not _is_personal(facts, one)]


def _dimension(facts: Manifest, sums: Counted, name: object) -> Dimension | None:
    entity, _, wanted = str(name).partition("__")
    places = [
        (model, dimension)
        for model in facts.semantic_models.values()
        for dimension in model["dimensions"]
        if dimension["name"] == wanted and dimension["type"] == "categorical" and _keyed(model, entity)
    ]
    for model, dimension in places:
        sides = [
            _side(facts, measure, entity, model, dimension) for measure in (sums.numerator, sums.denominator) if measure
        ]
        if all(sides):
            meta = _meta(dimension)
            return Dimension(
                str(name),
                dimension.get("label") or wanted.replace("_", " "),
                tuple(side for side in sides if side),
                _called(facts, str(meta.get("called", ""))),
                str(meta.get("missing", "none")),
            )
    return None


def _side(
    facts: Manifest, measure: Measure, entity: str, model: dict[str, Any], dimension: dict[str, Any]
) -> Side | None:
    """A measure's rows with a dimension, or those of another measure that adds up to it."""
    for own in facts.semantic_models.values():
        for one in own["measures"]:
            if measure.name not in (one["name"], _meta(one).get(_ADDS_UP_TO)):
                continue
            rows = measure if one["name"] == measure.name else _rows(one, own)
            key = _entity(own, entity)
            if rows is None or key is None:
                continue
            if own is model:
                return Side(rows, _expr(dimension))
            return Side(rows, key, Column(_relation(model), str(_keyed(model, entity)), _expr(dimension)))
    return None


def _rows(measure: dict[str, Any], model: dict[str, Any]) -> Measure | None:
    sums = measured({"name": measure["name"], "type": "simple"}, measure, model)
    return sums.numerator if sums and sums.denominator is None else None


def _called(facts: Manifest, name: str) -> Column | None:
    entity, _, wanted = name.partition("__")
    for model in facts.semantic_models.values():
        key = _keyed(model, entity)
        for dimension in model["dimensions"]:
            if key and dimension["name"] == wanted:
                return Column(_relation(model), key, _expr(dimension))
    return None


def _is_personal(facts: Manifest, dimension: Dimension) -> bool:
    """Whether its items, or what they are called, are values of a personal column."""
    shown = [side.of.expr if side.of else side.item for side in dimension.sides]
    shown += [dimension.called.expr] if dimension.called else []
    return personal.is_named(" ".join(shown), facts.personal_columns)


def _entity(model: dict[str, Any], name: str) -> str | None:
    return next((_expr(one) for one in model["entities"] if one["name"] == name), None)


def _keyed(model: dict[str, Any], entity: str) -> str | None:
    """The key of an entity in a model that has a row for each."""
    keys = [one for one in model["entities"] if one["type"] in ("primary", "unique")]
    return _entity({"entities": keys}, entity)


def _expr(thing: dict[str, Any]) -> str:
    return thing.get("expr") or thing["name"]


def _relation(model: dict[str, Any]) -> str:
    return model["node_relation"]["alias"]


def _metric(facts: Manifest, name: str) -> dict[str, Any]:
    return next((one for one in facts.metrics.values() if one["name"] == name), {})


def _meta(thing: Mapping[str, Any]) -> dict[str, Any]:
    return (thing.get("config") or {}).get("meta") or {}
