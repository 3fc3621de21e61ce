"""Make report.md and the plots of a report from report.json.

python -m benchmarks.gpu_report.render DIR
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu_report.section import Section, markdown_table


def markdown(report: Mapping[str, Any], sections: Mapping[str, Section]) -> str:
    """Return the report as Markdown, without sections that are not in `sections`."""
    lines = [f"# Report of {report['device']}", ""]
    if report["device"] == "sim":
        lines += ["Made on the simulated GPU: tiny sizes, with counts instead of times.", ""]
    lines += [f"Started {report['began']}, time limit {report['minutes']:g} minutes.", ""]
    entries = [(name, entry) for name, entry in report["sections"].items() if name in sections]
    overview = ((sections[name].title, *_outcome(entry)) for name, entry in entries)
    lines += markdown_table(("section", "outcome", "findings", "faults", "s"), overview)
    for name, entry in entries:
        lines += ["", f"## {sections[name].title}", ""]
        if entry["status"] != "done":
            lines += ["```", entry["status"].strip(), "```", ""]
        lines += _shown(sections[name], entry["rows"])
    return "\n".join(lines).rstrip() + "\n"


def _outcome(entry: Mapping[str, Any]) -> tuple[object, ...]:
    faults = sum(bool(row["fault"]) for row in entry["rows"])
    return entry["status"].partition(":")[0], len(entry["rows"]), faults, f"{entry['seconds']:.0f}"


def _shown(section: Section, rows: list[Any]) -> Iterator[str]:
    """Yield the findings of a section, or the error of its `show`, so that it does not end a run on a GPU."""
    if not rows:
        return
    try:
        yield from list(section.show(rows))
    except Exception as error:
        yield f"The findings cannot be shown ({type(error).__name__}: {error}); see report.json."


def main(folder: Path) -> None:
    """Rewrite report.md and the plots in a folder."""
    from benchmarks.gpu_report.pictures import draw
    from benchmarks.gpu_report.sections import SECTIONS

    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (folder / "report.md").write_text(markdown(report, SECTIONS), encoding="utf-8")
    draw(report, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
