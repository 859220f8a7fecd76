"""Whether anything notices a mutant, cheapest first: unit tests, tests of data, a recount of raw, days, the suite.

Noticed means that a test of the suite fails, or that something holds the publish back: a test that only warns does
not. dbt is called in this process and on its kept parse, in which a mutant takes the place of what is right; one call
judges a mutant of each model, since a unit test reads nothing but its own model. What a full build would hold is made
by the compiled SQL, in a schema that is rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
from dbt.artifacts.resources.types import NodeType
from dbt.contracts.graph.manifest import Manifest
from dbt.contracts.graph.nodes import ModelNode

from include.settings import PROJECT_ROOT
from tests.dbt.conftest import KeptShop
from tests.dbt.days import TAKING_CHANGES, Days, Project
from tests.dbt.edits import replica
from tests.dbt.test_hostile_rows import Nights
from tests.mutants.change import Mutant, mutants
from tests.mutants.forked import Change

# A join that lost its condition must not hold everything up; a run would not end in time either.
LIMIT = "20s"
DAYS_PLAYED = 4
SOUND, ODD = "mutants_sound", "mutants_odd"

BROKEN, LEFT_OUT, SAME, LOOKED_AT = "not compiled", "not judged", "no result changed", "looked at"
UNIT, DATA, RECOUNT, DAYS, SUITE, SURVIVED = "unit test", "data test", "recount", "days", "suite", "survived"
CAUGHT = (UNIT, DATA, RECOUNT, DAYS, SUITE)

# In the hooks of each model, or asked by dbt while it builds one: nothing of the SQL of a full build.
_OF_EACH_MODEL = {"before_build", "after_build", "is_incremental"}
# What days build by. The other macros of the folder are what tests ask, or models of another kind than these.
_OF_BUILDS = ("buffers", "changes", "snapshots", "relation_exists", "snapshot_get_time")
# By file of macros, the tests that hold what no build of a few days shows; for any other those of the kinds of tests.
_SUITE = {
    "buffers": ("dbt/test_incremental.py", "dbt/test_buffers.py", "dbt/test_publishing.py"),
    "changes": ("dbt/test_incremental.py", "dbt/test_new_rows.py"),
    "published": ("own_project", "dbt/test_incremental.py"),
    "snapshots": ("dbt/test_snapshots.py", "dbt/test_new_rows.py"),
    "snapshot_get_time": ("dbt/test_snapshots.py",),
    "relation_exists": ("dbt/test_incremental.py",),
    "new_rows": ("dbt/test_new_rows.py",),
    **dict.fromkeys(
        # Where it matters which rows are new.
        ("dates_where", "figures_agree", "happens_within", "holds_for_most", "unique_combination"),
        ("dbt/test_generic_tests.py", "dbt/test_new_rows.py"),
    ),
    "is_erased": ("dbt/test_erase.py",),
    "generate_schema_name": ("dbt/test_branch.py",),
}
_OF_ROWS = ("dbt/test_generic_tests.py",)


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, and what noticed it, or a row that is otherwise."""

    mutant: str
    became: str
    detail: str = ""


def texts(manifest: Manifest) -> dict[str, str]:
    """What is mutated, by name: each model, and each macro of the project, generic tests among them."""
    models = {one.name: one.raw_code for one in manifest.nodes.values() if one.resource_type == NodeType.Model}
    return models | {one.name: one.macro_sql for one in manifest.macros.values() if one.package_name == "greenery"}


def all_mutants(manifest: Manifest) -> list[Mutant]:
    """In the order of the names."""
    return [mutant for name, code in sorted(texts(manifest).items()) for mutant in mutants(name, code)]


class Judge:
    """A built shop, sound but for what a mutant does to it, and the same after nights on which odd things happened."""

    def __init__(self, shop: KeptShop, project: Project, folder: Path) -> None:
        self.shop, self.project = shop, project
        self.days_pass = False
        self.texts = texts(project.manifest)
        self.models = {one.name: one for one in project.manifest.nodes.values() if isinstance(one, ModelNode)}
        self.views = [name for name, one in self.models.items() if one.config.materialized == "view"]
        self.nights = Nights(shop, project, folder)
        failing = [name for name, status in project("test", "--select", "test_type:unit").items() if status != "pass"]
        if failing:
            raise SystemExit(f"Without a mutant these unit tests fail: {', '.join(failing)}. Mend them first.")
        self.right = self._compiled(project, [*self.models])
        self.columns = {name: self._columns(sql) for name, sql in self.right.items()}
        # By shop, the tests that fail without a mutant.
        self.expected = {kept: self._keep(kept, nights) for kept, nights in {SOUND: 0, ODD: 6}.items()}

    def judge(self, asked: Sequence[Mutant]) -> Iterator[Verdict]:
        """A verdict for each; those that cost least come first. What is left out, tests of the suite may judge."""
        self.shop.go_back(SOUND)
        of_models = {one.name: models_of(self.project.manifest, one) for one in asked}
        left, built = [one for one in asked if of_models[one.name]], {}
        for group in _apart(left, of_models):
            built |= self._compiled_together(group, of_models)
        for mutant in left[:]:
            if broken := self._broken(built[mutant.name]):
                left.remove(mutant)
                yield Verdict(mutant.name, BROKEN, broken)
        for group in [*_apart(left, of_models)]:
            for mutant, test in self._unit_tested(group, of_models):
                left.remove(mutant)
                yield Verdict(mutant.name, UNIT, test)
        changed: dict[str, str] = {}
        for kept in (SOUND, ODD) if left else ():
            self.shop.go_back(kept)
            for mutant in left[:]:
                verdict = self._built(mutant, built[mutant.name], kept)
                if verdict.became == SURVIVED:
                    changed.setdefault(mutant.name, verdict.detail)
                elif verdict.became != SAME:
                    left.remove(mutant)
                    yield verdict
        for mutant in [*left, *(one for one in asked if not of_models[one.name])]:
            if mutant.name in changed:
                yield Verdict(mutant.name, SURVIVED, changed[mutant.name])
            elif takes_days(self.project.manifest, mutant) and (found := self._days_find(mutant)):
                yield Verdict(mutant.name, DAYS, found)
            elif mutant.node in self.models and takes_days(self.project.manifest, mutant):
                yield Verdict(mutant.name, SURVIVED, f"no row is otherwise in {DAYS_PLAYED} days of edits")
            elif of_models[mutant.name] and not takes_days(self.project.manifest, mutant):
                yield Verdict(mutant.name, SAME)
            else:
                yield Verdict(mutant.name, LEFT_OUT)

    def _keep(self, name: str, nights: int) -> set[str]:
        """Keep the shop after some nights, with what a full build of it holds."""
        for _ in range(nights):
            self.nights.load_a_day()
            self.nights.edit(24)
        self.nights.build_marts()
        self.shop.keep(name)
        with self._aside():
            # Else nothing could be said of what a mutant changes.
            assert self._rebuild(self.right) == {}
            self._put_beside({})
            assert name != SOUND or self._recount() == []
            return {test for test in self._that_hold() if self._finds(test)}

    # What is asked of dbt.

    def _mutated(self, *mutants: Mutant) -> Project:
        """The project with mutants in it."""
        manifest = self.project.manifest
        nodes, macros = dict(manifest.nodes), dict(manifest.macros)
        for mutant in mutants:
            code = mutant.of(self.texts[mutant.node])
            if model := self.models.get(mutant.node):
                nodes[model.unique_id] = replace(model, raw_code=code)
            else:
                unique_id = f"macro.greenery.{mutant.node}"
                macros[unique_id] = replace(macros[unique_id], macro_sql=code)
        # dbt looks macros up in what it made of them before, unless that is gone.
        mutated = replace(manifest, nodes=nodes, macros=macros, _macros_by_name=None, _macros_by_package=None)
        return Project(self.project.project, self.project.work, mutated)

    @staticmethod
    def _compiled(project: Project, models: Sequence[str]) -> dict[str, str]:
        """The SQL of models for a full build; none of those that do not compile."""
        done = project.untested.invoke("compile", "--full-refresh", "--select", *models)
        return {
            one.node.name: one.node.compiled_code.replace('"analytics_next"', '"reference"')
            for one in (done.result.results if done.result else ())
            if one.status == "success" and one.node.name in models
        }

    def _compiled_together(
        self, group: Sequence[Mutant], of_models: Mapping[str, set[str]]
    ) -> dict[str, dict[str, str]]:
        """By mutant, the SQL of each model that is otherwise for a full build; "" where there is none."""
        made = self._compiled(self._mutated(*group), sorted(set().union(*(of_models[one.name] for one in group))))
        if not made and len(group) > 1:  # one of them stopped dbt as a whole
            return {key: sql for one in group for key, sql in self._compiled_together([one], of_models).items()}
        return {
            one.name: {name: sql for name in of_models[one.name] if (sql := made.get(name, "")) != self.right[name]}
            for one in group
        }

    def _unit_tested(self, group: Sequence[Mutant], of_models: Mapping[str, set[str]]) -> Iterator[tuple[Mutant, str]]:
        """The mutants that a unit test fails for, and its name."""
        models = set().union(*(of_models[one.name] for one in group))
        tests = {one.name: one.model for one in self.project.manifest.unit_tests.values() if one.model in models}
        if not tests:
            return
        statuses = self._mutated(*group)("test", "--select", *tests)
        for mutant in group:
            failed = [name for name in tests if tests[name] in of_models[mutant.name] and statuses[name] != "pass"]
            if failed:
                yield mutant, failed[0]

    # What is asked of Postgres.

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """A schema `mutant`, for the time of the block."""
        self.shop.query("begin")
        try:
            self.shop.query(f"set local statement_timeout = '{LIMIT}'; create schema mutant")
            yield
        finally:
            self.shop.query("rollback")

    def _broken(self, built: Mapping[str, str]) -> str:
        """Why dbt, Postgres or the model's contract refuses the SQL, whatever the rows are; "" where none does."""
        for name, sql in built.items():
            if not sql:
                return f"dbt compiles no {name}"
            try:
                if self._columns(sql) != self.columns[name]:
                    return f"{name} has other columns than its contract"
            except psycopg2.Error as error:
                return str(error).partition("\n")[0]
        return ""

    def _columns(self, sql: str) -> set[tuple[str, int]]:
        with self.shop.connection.cursor() as cursor:
            cursor.execute(f"select * from ({sql}) as asked limit 0")
            return {(one.name, one.type_code) for one in cursor.description}

    def _built(self, mutant: Mutant, built: Mapping[str, str], kept: str) -> Verdict:
        """Build what the mutant is in, and what reads it as far as that changes; then see what notices."""
        try:
            with self._aside():
                different = self._rebuild(built)
                if not different:
                    return Verdict(mutant.name, SAME)
                self._put_beside(different)
                for test in self._that_hold(different):
                    if test not in self.expected[kept] and self._finds(test):
                        return Verdict(mutant.name, DATA, self.nights.facts.nodes[test]["name"])
                # It reads no odd rows.
                if kept == SOUND and (found := self._recount()):
                    return Verdict(mutant.name, RECOUNT, found[0])
                return Verdict(mutant.name, SURVIVED, next(iter(different.values())))
        except psycopg2.Error as error:
            return Verdict(mutant.name, DATA, f"the build breaks off: {str(error).partition(chr(10))[0]}")

    def _rebuild(self, built: Mapping[str, str]) -> dict[str, str]:
        """By model that is otherwise with this SQL, a row that is; they stand in the schema `mutant`."""
        different: dict[str, str] = {}
        for name in [*self.views, *self.nights.marts]:
            reads = {one.rpartition(".")[2] for one in self.models[name].depends_on.nodes}
            if name not in built and not reads & different.keys():
                continue
            sql = self._of_mutant(built.get(name, self.right[name]), different)
            names = ", ".join(f'"{one}"' for one in self.models[name].columns)
            was, kind = (f"staging.{name}", "view") if name in self.views else (f"reference.{name}", "table")
            if kind == "view":
                self.shop.query(f"create view mutant.{name} as {sql}")
            else:
                self.shop.query(f"create table mutant.{name} (like {was} including indexes)")
                self.shop.query(f"insert into mutant.{name} ({names}) select {names} from ({sql}) as built")
                self.shop.query(f"analyze mutant.{name}")
            one, other = f"select {names} from {was}", f"select {names} from mutant.{name}"
            rows = self.shop.query(
                f"(select '-', * from ({one} except all {other}) as wrong limit 1)"
                f" union all (select '+', * from ({other} except all {one}) as lacking limit 1)"
            )
            if rows:
                different[name] = f"{name}: {' '.join(str(row) for row in rows)}"
            else:
                self.shop.query(f"drop {kind} mutant.{name}")
        return different

    @staticmethod
    def _of_mutant(sql: str, names: Iterable[str]) -> str:
        """The SQL, reading these in the schema `mutant`."""
        for name in names:
            for schema in ("reference", "staging"):
                sql = sql.replace(f'"{schema}"."{name}"', f'"mutant"."{name}"')
        return sql

    def _put_beside(self, different: Mapping[str, str]) -> None:
        """What the mutant leaves as it is, beside what it changes."""
        for name in {*self.nights.marts} - different.keys():
            self.shop.query(f"create view mutant.{name} as table reference.{name}")

    def _that_hold(self, read: Iterable[str] | None = None) -> list[str]:
        """The tests that hold the publish back, of those that read one of these models."""
        nodes, ids = self.nights.facts.nodes, {f"model.greenery.{name}" for name in read or ()}
        return [
            test
            for test in self.nights.tests
            if nodes[test]["config"]["severity"].lower() == "error"
            and (read is None or ids & {*nodes[test]["depends_on"]["nodes"]})
        ]

    def _finds(self, test: str) -> bool:
        there = "select relname from pg_class where relnamespace = 'mutant'::regnamespace and relkind in ('r', 'v')"
        sql = self._of_mutant(self.nights.tests[test], [name for (name,) in self.shop.query(there)])
        return bool(self.shop.value(f"select count(*) from ({sql}) as found"))

    def _recount(self) -> list[str]:
        return self.nights.recount(replica(self.shop.connection), "mutant")

    def _days_find(self, mutant: Mutant) -> str:
        """What days find of a mutant, where without one they find nothing."""
        if not self.days_pass:
            if found := self._played(self.project):
                raise SystemExit(f"Without a mutant days find this: {found}. Mend it first.")
            self.days_pass = True
        return self._played(self._mutated(mutant))

    def _played(self, project: Project) -> str:
        """What days of changes find: a difference from a full build, or what breaks off; "" for nothing."""
        days = Days(self.shop, self.project, seed=1)
        days.models = TAKING_CHANGES
        days.two_full_runs()
        project._full = self.project.full_build()  # which it does not change
        days.project = project
        try:
            for _ in range(DAYS_PLAYED):
                if days.random.random() < 0.6:
                    days.load_a_day()
                days.edit()
                if rebuilt := days.run():
                    return f"builds in full: {', '.join(sorted(rebuilt))}"
        except Exception as error:  # whatever it is, nothing is published
            return " ".join(str(error).split())[:300] or type(error).__name__
        return ""


def models_of(manifest: Manifest, mutant: Mutant) -> set[str]:
    """The models whose SQL the text may be in, as far as dbt's parse knows."""
    models = {one.name: one for one in manifest.nodes.values() if isinstance(one, ModelNode)}
    if mutant.node in models:
        return {mutant.node}
    return {name for name, one in models.items() if mutant.node in _macros_of(manifest, one.depends_on.macros)}


def takes_days(manifest: Manifest, mutant: Mutant) -> bool:
    """Whether it is about what builds take, and not about what a full build makes of it."""
    if f"macro.greenery.{mutant.node}" not in manifest.macros:
        return "only_changed" in texts(manifest)[mutant.node][mutant.start : mutant.end]
    file = _file(manifest, mutant)
    return file.parent.name == "daily" and file.stem in _OF_BUILDS


def _macros_of(manifest: Manifest, asked: Iterable[str]) -> set[str]:
    """The names of our macros among these, and of those that they ask."""
    found, left = set(), [*asked]
    while left:
        package, name = left.pop().split(".")[1:]
        if package == "greenery" and name not in found | _OF_EACH_MODEL:
            found.add(name)
            left += manifest.macros[f"macro.greenery.{name}"].depends_on.macros
    return found


def change(manifest: Manifest, mutant: Mutant) -> Change:
    """What tests of the suite are asked of: the file of a macro with the mutant in it, and that macro."""
    file, macro, right = _file(manifest, mutant), f"macro.greenery.{mutant.node}", texts(manifest)[mutant.node]
    code = (PROJECT_ROOT / file).read_text()
    assert right in code
    return Change(mutant.name, str(file), code.replace(right, mutant.of(right)), (macro,), macro, mutant.of(right))


def tests_of(manifest: Manifest, asked: Iterable[Mutant]) -> list[str]:
    """The tests that hold what no build of a few days shows of macros."""
    return sorted({f"tests/{name}" for one in asked for name in _SUITE.get(_file(manifest, one).stem, _OF_ROWS)})


def _file(manifest: Manifest, mutant: Mutant) -> Path:
    """The file of a macro."""
    return Path("dbt", manifest.macros[f"macro.greenery.{mutant.node}"].original_file_path)


def _apart(asked: Sequence[Mutant], of_models: Mapping[str, set[str]]) -> Iterator[list[Mutant]]:
    """Groups in which no two mutants are of one model."""
    left = [*asked]
    while left:
        group: list[Mutant] = []
        taken: set[str] = set()
        for mutant in left:
            if not of_models[mutant.name] & taken:
                group.append(mutant)
                taken |= of_models[mutant.name]
        yield group
        left = [one for one in left if one not in group]
