"""The audit of poisoning: which fakes the checks find, and that the audit fails where one gets past."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from poison_task import write_task
from tiny_task import make_spec

from recgauntlet.cli import audit as command
from recgauntlet.cli import main
from recgauntlet.core.errors import CardError, PluginError
from recgauntlet.core.spec import CellSpec
from recgauntlet.evaluation import newcomers
from recgauntlet.testing.audit import zoo
from recgauntlet.testing.audit.accounts import ACCOUNT_FAKES
from recgauntlet.testing.audit.poisoning import PoisonedSubject, audit_poisoning, poisoned_subject
from recgauntlet.testing.audit.run import Audit
from recgauntlet.testing.audit.zoo import account_zoo

NAMES = (
    "account-numbers",
    "no-new-users",
    "pairs-by-heart",
    "last-day",
    "short-profiles",
    "known-users-loss",
    "known-users-steps",
)


def spec_of(folder: Path) -> CellSpec:
    return make_spec(write_task(folder), folder / "out", folder / "cache")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> PoisonedSubject:
    return poisoned_subject(spec_of(tmp_path_factory.mktemp("audit")))


@pytest.fixture(scope="module")
def audited(subject: PoisonedSubject) -> Audit:
    return audit_poisoning(subject, account_zoo())


def test_no_fake_is_undetected_and_the_honest_model_raises_no_alarm(audited: Audit) -> None:
    assert tuple(row.fake for row in audited.rows) == NAMES
    assert audited.sound, audited
    assert audited.honest.clean > audited.honest.robust["brushing"] + 0.02, "the accounts do no harm"


@pytest.mark.parametrize("name", ["no-new-users", "pairs-by-heart"])
def test_what_knows_the_genuine_data_gains_and_is_flagged(name: str, audited: Audit) -> None:
    (row,) = (row for row in audited.rows if row.fake == name)
    assert row.verdict == "flagged"
    assert row.measured.robust["brushing"] == pytest.approx(audited.honest.clean)
    assert "newcomers-are-kept (brushing)" in row.measured.flags


@pytest.mark.parametrize("name", ["account-numbers", "last-day"])
def test_numbers_and_dates_of_accounts_give_nothing_away(name: str, audited: Audit) -> None:
    (row,) = (row for row in audited.rows if row.fake == name)
    assert row.verdict == "harmless"


def test_short_profiles_cost_too_many_genuine_users(audited: Audit) -> None:
    (row,) = (row for row in audited.rows if row.fake == "short-profiles")
    assert "filter-keeps-most (brushing)" in row.measured.flags


@pytest.mark.parametrize("name", ["known-users-loss", "known-users-steps"])
def test_newcomers_that_a_filter_keeps_and_training_leaves_out_are_missed(name: str, audited: Audit) -> None:
    (row,) = (row for row in audited.rows if row.fake == name)
    assert row.measured.flags == ("newcomers-count-as-much (brushing)",), row


@pytest.mark.parametrize(("switched_off", "code"), [(False, 0), (True, 1)])
def test_the_command_fails_if_a_fake_passes_undetected(
    switched_off: bool,
    code: int,
    subject: PoisonedSubject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "poisoned_subject", lambda spec: subject)
    if switched_off:
        monkeypatch.setattr(newcomers, "MOST_REMOVED", 1.0)
        monkeypatch.setattr(newcomers, "LEAST_LEARNED", -9.0)
    out = tmp_path / "audit.json"
    call = ["recgauntlet", "audit", "--fake", "no-new-users", "--task", "music-listen", "--out", str(out)]
    monkeypatch.setattr("sys.argv", call)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().out
    assert ended.value.code == code, printed
    assert ("UNDETECTED no-new-users" in " ".join(printed.split())) == switched_off
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["sound"] is not switched_off
    assert [row["fake"] for row in written["poisoning"]["rows"]] == ["no-new-users"]
    assert "rows" not in written


def test_a_card_without_such_a_threat_and_a_fake_that_is_not_there_are_refused(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with pytest.raises(CardError, match="no threat of fake accounts"):
        poisoned_subject(replace(spec, task="news-click", track="demo"))
    with pytest.raises(PluginError, match="no fake named 'nobody'"):
        account_zoo(["nobody"])
    assert zoo(["pairs-by-heart"]) == ()
    assert account_zoo(["pairs-by-heart", "constant"]) == (ACCOUNT_FAKES[2],)
