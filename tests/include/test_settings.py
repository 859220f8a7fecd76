"""What a setting that is none does: it is named, and silences nobody."""

from __future__ import annotations

from datetime import timedelta

import pytest

from include import settings


@pytest.mark.parametrize("text", ["10s", "0", "-1", "1.5"])
def test_what_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GREENERY_PUBLISHED_BY_MINUTES", text)
    with pytest.raises(ValueError, match=f"GREENERY_PUBLISHED_BY_MINUTES is '{text}'; it takes a whole number from 1"):
        settings.published_by()


def test_a_run_has_its_last_word_though_a_setting_of_it_is_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GREENERY_SLACK_TIMEOUT_SECONDS", "10s")
    monkeypatch.setenv("GREENERY_KEEP_RESULTS_DAYS", "long")
    assert (settings.slack_timeout(), settings.results_kept_for()) == (10, timedelta(days=400))
    assert "GREENERY_SLACK_TIMEOUT_SECONDS is '10s'" in caplog.text


def test_what_is_kept_for_ever_is_kept_for_a_century(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_KEEP_RESULTS_DAYS", "9999999999")
    assert settings.results_kept_for() == timedelta(days=36_500)


def test_what_is_no_date_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_DEMO_FIRST_DAY", "yesterday")
    with pytest.raises(ValueError, match="GREENERY_DEMO_FIRST_DAY is 'yesterday'; it takes a date such as 2026-11-01"):
        settings.demo_first_day()


def test_an_empty_number_is_as_if_it_was_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENERY_PUBLISHED_BY_MINUTES", "")
    assert settings.published_by() == timedelta(hours=1)
