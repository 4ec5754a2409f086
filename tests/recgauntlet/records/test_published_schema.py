from __future__ import annotations

import json
from pathlib import Path

from recgauntlet.records.schema import json_schema

PUBLISHED = Path(__file__).parents[3] / "docs" / "record.schema.json"
REMEDY = (
    "python -c 'import json; from recgauntlet.records.schema import json_schema; "
    "print(json.dumps(json_schema(), indent=2, sort_keys=True))' > docs/record.schema.json"
)


def test_published_schema_is_that_of_the_records() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert published == json_schema(), f"the schema changed; write it again: {REMEDY}"
