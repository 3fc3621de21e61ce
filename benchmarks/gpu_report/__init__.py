"""The GPU report: check and measure everything on a GPU with one command, within nine minutes.

`sections/` has one file for each kind of check or measurement; `runner` runs each section in a separate process;
`render` and `pictures` make tables and plots from `report.json`.
"""
