"""Images and locks as people ask about them: explain, diff, sizes and reports."""
