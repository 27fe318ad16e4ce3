"""What a check of the supply chain found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's outcome: it fails with findings, each a line that says where and what; `note` is for all."""

    check: str
    note: str
    findings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what is shown of it, the findings below the note."""
        mark = f"{len(self.findings)} found" if self.findings else "ok"
        return [f"{self.check}: {mark} ({self.note})", *(f"  {finding}" for finding in self.findings)]
