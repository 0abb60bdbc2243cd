"""What did the last builds do, and what came of them? Each writes a report (note.py); `invoke report` shows them.

record.py is what a report says; store.py keeps the last ones; complete.py asks the engine for what a build itself had
no time for; show.py makes one HTML page of them, page.py its text.
"""
