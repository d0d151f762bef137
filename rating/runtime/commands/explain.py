"""`ratecast explain`: how one charge came about."""

from __future__ import annotations

import json

import click

from rating.runtime.commands.options import json_option, store_option


@click.command()
@click.argument("charge_id")
@store_option
@json_option
def explain(charge_id: str, store: str, as_json: bool) -> None:
    """Show how a charge came about, step by step.

    CHARGE_ID is the UUID of a charge, as `ratecast export charges` gives it.

    \b
    ratecast explain 06a13b46-8561-57d8-afb5-b3c447a7292e
    ratecast explain 06a13b46-8561-57d8-afb5-b3c447a7292e --store bills.db --json
    """
    from rating.runtime.explanation import as_json as explanation_json
    from rating.runtime.explanation import as_text, explain_charge
    from sinks.store import open_store

    with open_store(store, create=False) as opened:
        explanation = explain_charge(opened, charge_id)
    click.echo(json.dumps(explanation_json(explanation)) if as_json else as_text(explanation))
