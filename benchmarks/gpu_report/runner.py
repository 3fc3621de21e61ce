"""Run the sections one after the other, each in its time and its process, and keep what they find as they find it."""

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
    tell: Callable[[str], object] = print,
    now: Callable[[], float] = time.monotonic,
    child: Callable[..., Iterator[Any]] = iterate_with_limit,
) -> dict[str, Any]:
    """Return the report, which is written to `out` after every finding.

    A section ends at the latest when its share of the time and those of all before it have passed: it may use what they
    left, and no share is lost to a section that hangs. Where it says that it crashed it goes on in a new process.

    Args:
        sections: by name, in their order.
        setup: for the sections; it gets the ceilings once they are measured.
        out: the folder for report.json and report.md.
        minutes: that all sections may take.
        tell: is given a line on each section.
        now: the time in seconds.
        child: as `iterate_with_limit`.
    """
    report = new_report(sections, setup, minutes)
    share = 60 * minutes / sum(section.seconds for section in sections.values())
    end = now()
    for name, section in sections.items():
        entry = report["sections"][name]
        end += section.seconds * share
        began = now()
        while (left := end - now()) >= 1:
            entry["status"] = "cut off"  # what a run that is killed now leaves behind
            known = setup._replace(ceilings=finding(report, "ceilings"), found=tuple(entry["rows"]))
            try:
                for rows in child(round(left, 1), section.measure, known):
                    entry["rows"] += rows
                    entry["seconds"] = now() - began
                    keep(report, sections, out)
                entry["status"] = "done"
            except LimitError:
                entry["status"] = f"cut off: it had {left:.0f} s"
            except (GpunetError, RuntimeError) as error:
                entry["status"] = f"failed: {error}"
            found = entry["rows"][len(known.found) :]
            if not (found and found[-1]["fault"].startswith(CRASHED)):
                break
        entry["seconds"] = now() - began
        keep(report, sections, out)
        tell(f"{entry['seconds']:6.1f} s  {name:<16} {summary(entry)}")
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
    """Return what the first finding with this key says there, or None."""
    rows = (row for entry in report["sections"].values() for row in entry["rows"])
    return next((row[key] for row in rows if key in row), None)


def summary(entry: Mapping[str, Any]) -> str:
    """Return what became of a section, in one line."""
    faults = sum(bool(row["fault"]) for row in entry["rows"])
    status = entry["status"].strip().splitlines()[-1]
    return f"{status}; {len(entry['rows'])} findings" + (f", {faults} FAULTS" if faults else "")


def good(report: Mapping[str, Any]) -> bool:
    """Say whether every section was done and found no fault."""
    entries = report["sections"].values()
    return all(entry["status"] == "done" and not any(row["fault"] for row in entry["rows"]) for entry in entries)


def keep(report: Mapping[str, Any], sections: Mapping[str, Section], out: Path) -> None:
    """Write report.json and, made from it, report.md."""
    text = json.dumps(report, indent=1)
    write_bytes(out / "report.json", f"{text}\n".encode())
    write_bytes(out / "report.md", markdown(json.loads(text), sections).encode())
