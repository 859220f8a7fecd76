"""What dbt does over and over for nobody, left out in the processes of the tests; `tests/test_unpromised.py` compares.

A deployment has dbt as it is, and so have the tests of whole days. Other tests call dbt a thousand times in a process.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType
from typing import Any

import pytest
from agate import Table, TypeTester
from dbt_common import behavior_flags
from dbt_common import tests as dbts_tests
from dbt_common.clients import agate_helper, jinja
from dbt_common.events.base_types import BaseEvent, DebugLevel
from jinja2 import Environment
from jinja2.runtime import Context
from jinja2.utils import missing

# Its own, by what takes its place in here.
_FLAG = behavior_flags.BehaviorFlagRendered
dbts_who_asks, _dbts_compile, dbts_type_tester, dbts_empty_table, jinjas_resolve = (
    _FLAG._default_source,
    jinja.MacroFuzzEnvironment.compile,
    agate_helper.build_type_tester,
    agate_helper.empty_table,
    Context.resolve_or_missing,
)


def _who_asks() -> str:
    """Who made a flag of dbt's adapter: the first module that is not the flags' own, which each frame names.

    dbt asks in each invocation, and reads the source of the whole stack. Here that is a test's stack, among the modules
    of all tests, and took as long as all else of a small command.
    """
    frame = sys._getframe(1)
    while frame and frame.f_globals["__name__"] == behavior_flags.__name__:
        frame = frame.f_back
    return frame.f_globals["__name__"] if frame else "Unknown"


def _said(event: DebugLevel, *args: Any, **kwargs: Any) -> None:
    """Made, an event for debugging only notes what it says; a tenth of dbt's time was to check it, field by field."""
    object.__setattr__(event, "said", (args, kwargs))


def _asked(event: DebugLevel, name: str) -> Any:
    """Once somebody asks for something of it, it is what it always was."""
    if name == "pb_msg":
        args, kwargs = event.__dict__["said"]
        BaseEvent.__init__(event, *args, **kwargs)
        return event.__dict__["pb_msg"]
    return getattr(event.pb_msg, name)


_compiled: dict[tuple[type[Environment], str], CodeType] = {}


def _compile(environment: Environment, source: str) -> CodeType:
    """The code of a template, by its text: dbt compiles that of each model and test anew in each invocation."""
    key = type(environment), source
    if key not in _compiled:
        _compiled[key] = _dbts_compile(environment, source)
    return _compiled[key]


@cache
def _kept_type_tester(*asked: Collection[str]) -> TypeTester:
    return dbts_type_tester(*asked)


def _type_tester(text_columns: Iterable[str], string_null_values: Iterable[str] = ("null", "")) -> TypeTester:
    """What guesses the types of a query's rows: dbt makes one for each query, which learns what months are called."""
    return _kept_type_tester(frozenset(text_columns), tuple(string_null_values))


@cache
def _empty_table() -> Table:
    """What a statement without a result gets for one, the same for all: it can't be changed. dbt makes one for each."""
    return Table(rows=[])


def _resolve(context: Context, name: str) -> Any:
    """What a name means in a template. Jinja asks first whether it is there, so dbt looks twice through all macros."""
    if name in context.vars:
        return context.vars[name]
    try:
        return context.parent[name]
    except KeyError:
        return missing


@contextmanager
def lean() -> Iterator[None]:
    """For the time of the block dbt does so.

    In its own tests, dbt keeps what it parsed of each text and which plugins there are; it does so here as well.
    """
    with pytest.MonkeyPatch.context() as dbt:
        dbt.setattr(dbts_tests, "_TEST_CACHING_ENABLED", True)
        dbt.setattr(_FLAG, "_default_source", staticmethod(_who_asks))
        dbt.setattr(DebugLevel, "__init__", _said)
        dbt.setattr(DebugLevel, "__getattr__", _asked)
        dbt.setattr(jinja.MacroFuzzEnvironment, "compile", _compile)
        dbt.setattr(agate_helper, "build_type_tester", _type_tester)
        dbt.setattr(agate_helper, "empty_table", _empty_table)
        dbt.setattr(Context, "resolve_or_missing", _resolve)
        yield
