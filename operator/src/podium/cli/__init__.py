"""`kubectl podium`: what a person or a pipeline sees of ModelDeployments, and the commands that they give.

It talks to the API server alone, with the rights of whoever calls it. The operator never imports it, and its image has
neither typer nor rich.

    objects --view.of--> View --+--tree.tree--> Node --screen--> a rich tree, or plain lines without a terminal
                                +--outcome.outcome--> exit code and one line
                                +--shape.items--> JSON
    verb + View --command.asked--> the annotation podium.dev/command, then status.lastCommand is awaited
    ledger --replay.replayed--> evidence over time and the decision
"""
