from __future__ import annotations

import re
from pathlib import Path

from toy_recommender import Run, history_threat

from recgauntlet.attacks.suite import SUITE_ID, suite_attacks
from recgauntlet.core.batch import Batch
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.verifier import verify
from recgauntlet.threats.victim import Victim

DOCS = Path(__file__).parents[3] / "docs"


def test_the_attack_on_the_page_runs_and_is_legal(
    run: Run, victim: Victim, batch: Batch, world: AttackerKnowledge
) -> None:
    (source,) = re.findall(
        r"```python\n(.*?)```", (DOCS / "extend" / "attack.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names: dict[str, type] = {}
    exec(source, names)
    budget = Budget.of(history_threat(), "low")
    found, _ = run(names["DropOldest"](), budget)
    assert verify(world, victim.scale, budget, batch, found).legal.all()
    assert (found.histories() != batch.histories()).any()


def test_the_page_names_the_suite_and_every_attack_of_it() -> None:
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    assert f"`{SUITE_ID}`" in text
    for attack in suite_attacks():
        assert f"`{attack.name}`" in text
