"""Counts what callers saw, at the routers: from their Envoys' statistics to intervals of the analysis.

    text of one router -> reading -> counts so far -> rounds of all routers -> analysis.Interval

Only `scraper` waits for anybody; the rest is pure, and time is an argument.
"""
