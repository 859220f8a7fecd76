"""dbt in this process, on a release: parsed before, not written to, and as the project was when it was released."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.dbt_project import limits, manifest, release
from include.fast_cosmos import invocation, seal
from include.fast_cosmos.releases import ProjectError, Release
from include.local import postgres
from include.local.postgres import LocalPostgres
from tests.conftest import named_by_the_environment
from tests.include.dbt_project.conftest import MODEL

pytestmark = pytest.mark.db


@pytest.fixture(scope="module", autouse=True)
def _database(server: LocalPostgres) -> Iterator[None]:
    """One for all of these tests, since a parse is of one warehouse."""
    postgres.ensure_database(server, "invocations")
    with named_by_the_environment(server.database("invocations"), server):
        yield


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    """As in a new process."""
    invocation.load.cache_clear()


def files(of: Release) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in of.path.rglob("*") if path.is_file()}


def compiled(of: Release) -> str:
    [result] = invocation.invoke(of, ["build", "--quiet"]).result.results
    return result.node.compiled_code


def test_a_model_that_was_changed_a_second_ago_runs_as_changed_and_a_former_release_as_it_was(released: Path) -> None:
    old = release.refresh()
    assert compiled(old) == "select 1 as one"
    (released / MODEL).write_text("select 2 as one")
    assert compiled(release.refresh()) == "select 2 as one"
    assert compiled(old) == "select 1 as one"


def test_each_node_is_told_as_it_ends_with_what_ran(released: Path) -> None:
    made = release.refresh()
    told = []
    invocation.invoke(made, ["build", "--quiet"], ended=lambda node, result: told.append((node, result)))
    [(node, result)] = told
    assert (node, result.status, result.message) == ("model.greenery.one", "success", "CREATE VIEW")
    assert result.execution_time > 0
    assert dict(result.adapter_response)["rows_affected"] == -1
    assert invocation.load(made).nodes[node].compiled_code == "select 1 as one"


def test_a_node_is_told_before_its_sql_runs_and_never_where_it_is_skipped(project: Path) -> None:
    (project / MODEL).write_text("select missing as one")
    (project / MODEL).with_name("skipped.sql").write_text("select * from {{ ref('one') }}")
    told = []
    invocation.invoke(
        release.refresh(),
        ["build", "--quiet"],
        began=lambda node: told.append((node, "began")),
        ended=lambda node, result: told.append((node, result.status)),
    )
    assert told == [
        ("model.greenery.one", "began"),
        ("model.greenery.one", "error"),
        ("model.greenery.skipped", "skipped"),
    ]


def test_a_model_of_batches_is_told_once_when_the_last_has_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first batch that is well says nothing of those that come."""
    monkeypatch.setattr(limits, "problem", lambda _: None)  # Greenery's, of an incremental model without its hooks
    (project / MODEL).write_text(
        "{{ config(materialized='incremental', incremental_strategy='microbatch', unique_key='at', event_time='at',"
        " batch_size='day', begin='2026-01-01') }}"
        "{% set day = (model.batch.id if model.batch else '') | string %}"
        "select timestamp '2026-01-01' as at, 1 / {{ 0 if day.endswith('03') else 1 }} as one"
    )
    told = []
    days = ["--event-time-start", "2026-01-01", "--event-time-end", "2026-01-05"]
    invocation.invoke(
        release.refresh(), ["build", "--quiet", *days], ended=lambda node, result: told.append((node, result.status))
    )
    assert told == [("model.greenery.one", "partial success")]


def test_no_file_is_parsed_a_second_time(released: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = release.refresh()
    with caplog.at_level(logging.WARNING, invocation.__name__):
        invocation.load(made)
    assert caplog.messages == []


def test_nor_is_a_large_seed(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    (project / "seeds").mkdir()
    (project / "seeds" / "zones.csv").write_text("zone\n" + "berlin\n" * 160_000)
    made = release.refresh()
    with caplog.at_level(logging.WARNING, invocation.__name__):
        invocation.load(made)
    assert caplog.messages == []


def test_a_parse_that_does_not_fit_is_told(released: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = release.refresh()
    (made.path / MODEL).write_text("select 3 as one")
    seal.seal(made.path, made.stamp, ())
    with caplog.at_level(logging.WARNING, invocation.__name__):
        invocation.load(made)
    assert "1 files" in caplog.text


def test_a_release_that_was_changed_after_it_was_made_is_not_loaded(released: Path) -> None:
    made = release.refresh()
    (made.path / "target" / "partial_parse.msgpack").write_bytes(b"code")
    with pytest.raises(ProjectError, match=r"was changed after it was made \(target/partial_parse.msgpack\)"):
        invocation.load(made)


def test_dbt_writes_nothing_into_a_release(released: Path) -> None:
    made = release.refresh()
    before = files(made)
    invocation.invoke(made, ["build", "--quiet"])
    assert files(made) == before


def test_a_build_hears_of_no_other_tests_than_it_may_run_and_of_every_model(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "models/two.sql").write_text(
        "{% set names = graph.nodes.values() | map(attribute='name') | sort | join(' ') %}"
        "select one as two, '{{ names }}' as names from {{ ref('one') }}"
    )
    (project / "tests").mkdir()
    for name, model in (("of_one", "one"), ("of_two", "two")):
        (project / f"tests/{name}.sql").write_text(f"select * from {{{{ ref('{model}') }}}} where false")
    (project / "tests/of_both.sql").write_text("select * from {{ ref('one') }}, {{ ref('two') }} where false")
    of = release.refresh()
    invocation.invoke(of, ["build"])
    capsys.readouterr()
    facts = manifest.read(of.manifest)
    two = "model.greenery.two"
    command = ["build", "--select", facts.selector(two)]
    results = invocation.invoke(of, command, tests=facts.tests_of(two)).result.results
    built = {one.node.name: one.node.compiled_code for one in results}
    assert built.keys() == {"two", "of_two", "of_both"}
    assert "of_both of_one of_two one two" in built["two"]
    assert "Found 2 models, 2 data tests" in capsys.readouterr().out


def test_a_build_of_one_node_hears_of_what_it_reads_and_of_no_other(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "dbt_project.yml").open("a") as settings:
        settings.write("on-run-start: ['create table if not exists hooked as select 1 as one']\n")
    (project / "models/two.sql").write_text("select * from {{ ref('one') }}")
    (project / "models/inside.sql").write_text(
        "{{ config(materialized='ephemeral') }} select 2 as two from {{ ref('two') }}"
    )
    names = "{{ graph.nodes.values() | map(attribute='name') | sort | join(' ') }}"
    (project / "models/three.sql").write_text(f"select two, '{names}' as names from {{{{ ref('inside') }}}}")
    (project / "models/other.sql").write_text("select 1 as other from {{ ref('three') }}")
    (project / "tests").mkdir()
    (project / "tests/of_three.sql").write_text("select * from {{ ref('three') }}, {{ ref('one') }} where false")
    of = release.refresh()
    invocation.invoke(of, ["build", "--select", "one", "two"])
    capsys.readouterr()
    facts = manifest.read(of.manifest)
    three = "model.greenery.three"
    command = ["build", "--select", facts.selector(three)]
    results = invocation.invoke(of, command, nodes={three}, tests=facts.tests_of(three)).result.results
    built = {one.node.name: one.node.compiled_code for one in results}
    assert built.keys() == {"greenery-on-run-start-0", "three", "of_three"}
    assert '."two"' in built["three"]
    assert "greenery-on-run-start-0 inside of_three one other three two" in built["three"]
    assert "Found 4 models, 1 test, 1 operation" in capsys.readouterr().out


def test_a_model_that_reads_more_than_dbt_could_know_of_is_told_how_to_say_so(project: Path) -> None:
    (project / "models/two.sql").write_text("{% if execute %}select * from {{ ref('one') }}{% endif %}")
    of = release.refresh()
    done = invocation.invoke(of, ["build", "--select", "two"], nodes={"model.greenery.two"})
    assert "dbt was unable to infer all dependencies" in done.result.results[0].message


def test_a_failing_model_is_a_result_and_a_line_in_the_log_without_secrets_and_none_for_debugging(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DBT_ENV_SECRET_WORD", "opensesame")
    (project / MODEL).write_text("select 1 as opensesame from nowhere")
    done = invocation.invoke(release.refresh(), ["build"])
    assert not done.success
    assert 'relation "nowhere" does not exist' in done.result.results[0].message
    said = capsys.readouterr().out
    assert "1 of 1 ERROR creating sql view model" in said
    assert 'relation "nowhere" does not exist' in said
    assert "opensesame" not in said
    assert "Opening a new connection" not in said
