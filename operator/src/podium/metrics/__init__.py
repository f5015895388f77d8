"""Counts what callers saw: at the routers or, without exact weights, at the pods; and what a Prometheus counts.

    text of one router -> reading ----> counts so far --+
    text of one pod ---> exposition --> pods -----------+--> rounds of all --> course --> analysis.Interval
    answers of a Prometheus ----------> queried -----------------------------+

Only `scraper` and `prometheus` wait for anybody; the rest is pure, and time is an argument.
"""
