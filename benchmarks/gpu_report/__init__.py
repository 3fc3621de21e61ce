"""The report of a GPU: with one command, everything checked and measured within nine minutes.

`sections/` holds what is done, a file each; `runner` does it, each section in a process of its own; `render` and
`pictures` show what `report.json` holds.
"""
