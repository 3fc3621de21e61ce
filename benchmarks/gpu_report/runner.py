"""Run the sections of a report one after the other in separate processes, with time limits, and save every finding."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu_report.render import markdown
from benchmarks.gpu_report.section import CRASHED, Section, Setup
from gpunet.bench.child import LimitError, iterate_with_limit
from gpunet.errors import GpunetError
from gpunet.files import write_bytes

SCHEMA = "gpunet gpu report 1"
NO_TIME = "not run: no time was left"


def run(
    sections: Mapping[str, Section],
    setup: Setup,
    out: Path,
    minutes: float,
    *,
    log: Callable[[str], object] = print,
    now: Callable[[], float] = time.monotonic,
    child: Callable[..., Iterator[Any]] = iterate_with_limit,
) -> dict[str, Any]:
    """Run all sections and return the report, which is written to `out` after every finding.

    Each section has a share of the time limit, and ends at the latest when its share and the shares of all earlier
    sections have passed. So it may use the time that earlier sections left over, and a section that hangs does not
    shorten later ones. A section whose last finding is a crash (`CRASHED`) resumes in a new process.

    Args:
        sections: the sections by name, in order.
        setup: passed to each section, with the ceilings once they are measured.
        out: the folder for report.json and report.md.
        minutes: the time limit for all sections.
        log: called with a line about each section.
        now: returns the time in seconds.
        child: runs a section in a child process, like `iterate_with_limit`.
    """
    report = new_report(sections, setup, minutes)
    share = 60 * minutes / sum(section.seconds for section in sections.values())
    end = now()
    for name, section in sections.items():
        entry = report["sections"][name]
        end += section.seconds * share
        began = now()
        while (left := end - now()) >= 1:
            entry["status"] = "cut off"  # the status if the run is killed now
            current = setup._replace(ceilings=finding(report, "ceilings"), found=tuple(entry["rows"]))
            try:
                for rows in child(round(left, 1), section.measure, current):
                    entry["rows"] += rows
                    entry["seconds"] = now() - began
                    write(report, sections, out)
                entry["status"] = "done"
            except LimitError:
                entry["status"] = f"cut off: it had {left:.0f} s"
            except (GpunetError, RuntimeError) as error:
                entry["status"] = f"failed: {error}"
            found = entry["rows"][len(current.found) :]
            if not (found and found[-1]["fault"].startswith(CRASHED)):
                break
        entry["seconds"] = now() - began
        write(report, sections, out)
        log(f"{entry['seconds']:6.1f} s  {name:<16} {summary(entry)}")
    return report


def new_report(sections: Mapping[str, Section], setup: Setup, minutes: float) -> dict[str, Any]:
    """Return a report without findings."""
    return {
        "schema": SCHEMA,
        "device": setup.device,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "minutes": minutes,
        "sections": {name: {"status": NO_TIME, "seconds": 0.0, "rows": []} for name in sections},
    }


def finding(report: Mapping[str, Any], key: str) -> Any:
    """Return the value of the first finding that has this key, or None."""
    rows = (row for entry in report["sections"].values() for row in entry["rows"])
    return next((row[key] for row in rows if key in row), None)


def summary(entry: Mapping[str, Any]) -> str:
    """Return the status of a section and its number of findings and faults in one line."""
    faults = sum(bool(row["fault"]) for row in entry["rows"])
    status = entry["status"].strip().splitlines()[-1]
    return f"{status}; {len(entry['rows'])} findings" + (f", {faults} FAULTS" if faults else "")


def passed(report: Mapping[str, Any]) -> bool:
    """Return whether every section completed without a fault."""
    entries = report["sections"].values()
    return all(entry["status"] == "done" and not any(row["fault"] for row in entry["rows"]) for entry in entries)


def write(report: Mapping[str, Any], sections: Mapping[str, Section], out: Path) -> None:
    """Write report.json, and report.md from it."""
    text = json.dumps(report, indent=1)
    write_bytes(out / "report.json", f"{text}\n".encode())
    write_bytes(out / "report.md", markdown(json.loads(text), sections).encode())
