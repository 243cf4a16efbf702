"""What was measured, as text and as a picture."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure. `reference` is what the reference needed of the same unit in the same run; 0 where there is none."""

    what: str
    engine: str
    value: float
    unit: str
    reference: float = 0

    @property
    def times_better(self) -> float:
        """How often the reference's figure is worse: more is better for requests a second, less for all else."""
        if not self.reference:
            return 0
        return self.value / self.reference if self.unit == "requests/s" else self.reference / self.value


def as_text(title: str, rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [title, "", "| | engine | measured | reference | |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        digits = 5 if row.unit == "cosine" else 2 if row.unit == "s" else 1
        reference = f"{row.reference:.{digits}f} {row.unit}" if row.reference else ""
        ratio = f"{row.times_better:.1f}×" if row.reference else ""
        lines.append(f"| {row.what} | {row.engine} | {row.value:.{digits}f} {row.unit} | {reference} | {ratio} |")
    return "\n".join(lines)


def plot(title: str, rows: list[Row], path: Path) -> None:
    """Bars of how many times better than the reference, as `path`.png and `path`.svg."""
    from matplotlib import pyplot

    compared = [row for row in rows if row.reference][::-1]
    figure, axes = pyplot.subplots(figsize=(9, 0.36 * len(compared) + 1.2), layout="constrained")
    colours = {"int8": "#3b6fb6", "float32": "#8fb1dc"}
    values = [row.times_better for row in compared]
    bars = axes.barh(
        [f"{row.what}, {row.engine}" for row in compared],
        values,
        color=[colours.get(row.engine, "#999999") for row in compared],
    )
    axes.bar_label(bars, [f"{value:.1f}×" for value in values], padding=3)
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_xlabel("times better than SentenceTransformer on torch, measured in the same run")
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=110)
