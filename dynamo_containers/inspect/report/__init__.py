"""Reports of the last builds, as JSON and as one HTML page.

record.py has the values of a report, recorder.py writes one while a build runs, store.py keeps the last ones,
backfill.py asks the engine for what a build had no time for, show.py and html.py make the page.
"""
