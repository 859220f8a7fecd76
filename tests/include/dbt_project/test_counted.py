"""What the project's semantic models say of the rows that metrics are counted from."""

from __future__ import annotations

from include.dbt_project import counted
from include.dbt_project.manifest import Manifest


def test_a_row_is_called_as_the_primary_entity_of_its_model() -> None:
    entities = [{"name": "user", "type": "foreign"}, {"name": "order_item", "type": "primary"}]
    items = {"depends_on": {"nodes": ["model.shop.fact_items"]}, "entities": entities}
    unnamed = {"depends_on": {"nodes": ["model.shop.dim_days"]}, "entities": []}
    facts = Manifest({}, {}, semantic_models={"semantic_model.shop.items": items, "semantic_model.shop.days": unnamed})
    assert counted.nouns(facts) == {"fact_items": "order item"}
