"""What a large job takes: `python -m tests.benchmarks.plan [--machine NAME:TOKENS_A_SECOND:DOLLARS_AN_HOUR]…`.

Containers, hours and dollars for so many tokens, on the CPU as measured and on GPUs at Modal's list prices. A card that
nobody measured gets no hours: the second table says what it would have to do to cost no more than the CPU, and what no
card of its kind can beat. Give a figure of your own with --machine; under a listed card's name it replaces that row.
With an account, `modal billing rates --json >rates.json` and --rates rates.json take its own prices.
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from embedding.on_modal.prices import CORE, GIB, GPUS, PRICES_READ

# TFLOP/s, dense, from NVIDIA's data sheets: bfloat16 with tensor cores, and for the T4, which has no bfloat16, float32.
PEAKS = {
    "T4": 8.1,
    "L4": 121,
    "A10": 125,
    "L40S": 362,
    "A100-40GB": 312,
    "A100-80GB": 312,
    "H100": 989,
    "H200": 989,
    "B200": 2250,
}
GFLOP_PER_TOKEN = 0.21  # twice the 101 million weights of 24 layers, and the attention of a text of about 100 tokens

CORES, MEMORY_GIB, MEMORY_GIB_BESIDE_GPU = 2, 1.5, 8  # of a container in modal_app.py
# docs/figures.md: 32 texts of 22 tokens in one call on two cores, seconds a text.
CPU_SECONDS = {"int8": 0.0096, "float32": 0.0160}
CPU_TOKENS = 22
PROCESS_START_SECONDS = 2.3  # docs/modal.md: from a container's process to ready
BOOT_SECONDS = 1.0  # assumed: from "a container is wanted" to "our process starts"; the platform's part, not measured
IDLE_SECONDS = 60  # of a corpus's containers in modal_app.py: paid after the last text
MOST_CONTAINERS, MOST_GPUS = 100, 10  # at once on Modal's Starter plan
JOBS = {1_000: "1 thousand", 1_000_000: "1 million", 100_000_000: "100 million", 10_000_000_000: "10 billion"}


@dataclass(frozen=True)
class Machine:
    """One container's machine. `tokens_per_second` is None where nobody measured it; `peak` is in TFLOP/s."""

    name: str
    tokens_per_second: float | None
    dollars_per_hour: float
    most: int = MOST_CONTAINERS
    peak: float = 0


@dataclass(frozen=True)
class Plan:
    """What a job takes: containers side by side, hours until the last text is done, dollars for all of them."""

    containers: int
    hours: float
    dollars: float


def plan(tokens: int, machine: Machine, *, start_seconds: float, idle_seconds: float, deadline_seconds: float) -> Plan:
    """The fewest containers that finish by the deadline, or as many as there may be, and what they cost.

    Start-up, and the idle time before a container is taken down, are paid for each. The work is taken to split evenly.
    Raises ValueError where the machine is not measured, there is nothing to do, or nobody to do it, or the deadline is
    over before a container has started.
    """
    if tokens < 1 or machine.most < 1:
        raise ValueError(f"{tokens} tokens in at most {machine.most} containers: both must be 1 or more")
    if machine.tokens_per_second is None:
        raise ValueError(f"{machine.name} is not measured: give its tokens a second")
    if deadline_seconds <= start_seconds:
        raise ValueError(f"a container starts in {start_seconds} s, which is not before {deadline_seconds} s")
    work = tokens / machine.tokens_per_second
    containers = min(max(math.ceil(work / (deadline_seconds - start_seconds)), 1), machine.most)
    paid = work + containers * (start_seconds + idle_seconds)
    return Plan(containers, (start_seconds + work / containers) / 3600, paid / 3600 * machine.dollars_per_hour)


def break_even(machine: Machine, other: Machine) -> float:
    """Tokens a second at which a token on `machine` costs what it costs on `other`, start and idle time aside."""
    if other.tokens_per_second is None:
        raise ValueError(f"{other.name} is not measured: give its tokens a second")
    return other.tokens_per_second * machine.dollars_per_hour / other.dollars_per_hour


def at_best(machine: Machine) -> Machine:
    """The machine if it did nothing but multiply, at its peak: a bound that no measurement can pass."""
    return replace(machine, tokens_per_second=machine.peak * 1e3 / GFLOP_PER_TOKEN)


@dataclass(frozen=True)
class Prices:
    """Dollars a second: of a core, of a GiB of memory, and of each card; `words` say whose they are."""

    core: float = CORE
    gib: float = GIB
    gpus: Mapping[str, float] = field(default_factory=lambda: dict(GPUS))
    words: str = f"Modal's list prices as of {PRICES_READ}"


def container_dollars(card: str | None = None, prices: Prices | None = None) -> float:
    """Dollars an hour of a container of modal_app.py, with that card."""
    prices = prices or Prices()
    memory = MEMORY_GIB_BESIDE_GPU if card else MEMORY_GIB
    return 3600 * (CORES * prices.core + memory * prices.gib + (prices.gpus[card] if card else 0))


def read_rates(path: str) -> Prices:
    """The prices in what `modal billing rates --json` prints. Raises ArgumentTypeError.

    What its names and units are is told nowhere: a rate counts for what its name says, a second or an hour, whichever
    is within a factor of three of the list price. A price that is not there stays as listed, and the words say so.
    """
    try:
        rates = {_plain(name): float(value) for name, value in json.loads(Path(path).read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"{path} is not what modal billing rates --json prints: {error}") from None
    listed = {"cpu": CORE, "memory": GIB, **GPUS}
    found = {name: rate for name, price in listed.items() if (rate := _rate(rates, name, price)) is not None}
    if not found:
        raise argparse.ArgumentTypeError(f"{path} has no rate that is like a list price: {', '.join(rates) or 'none'}")
    listed_still = [name for name in listed if name not in found]
    words = f"The account's own prices, but Modal's list prices for {', '.join(listed_still)}" if listed_still else (
        "The account's own prices"
    )  # fmt: skip
    prices = {**listed, **found}
    return Prices(prices["cpu"], prices["memory"], {name: prices[name] for name in GPUS}, words)


def _plain(name: str) -> str:
    """Words of small letters and digits, with a dash between and around."""
    return "-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + "-"


def _rate(rates: Mapping[str, float], name: str, price: float) -> float | None:
    """The account's rate a second for what is listed under `name`, where exactly one is like it."""
    like = {
        rate / unit
        for key, rate in rates.items()
        for unit in (1, 3600)
        if _plain(name) in key and price / 3 < rate / unit < 3 * price
    }
    return like.pop() if len(like) == 1 else None


def listed_machines(most_containers: int, most_gpus: int, prices: Prices | None = None) -> list[Machine]:
    """The CPU in both precisions, as measured, and Modal's cards, which are not."""
    prices = prices or Prices()
    cpus = [
        Machine(
            f"{CORES} CPU cores, {precision}", CPU_TOKENS / seconds, container_dollars(None, prices), most_containers
        )
        for precision, seconds in CPU_SECONDS.items()
    ]
    cards = [Machine(name, None, container_dollars(name, prices), most_gpus, PEAKS[name]) for name in prices.gpus]
    return cpus + cards


def jobs_table(machines: list[Machine], jobs: list[int], **terms: float) -> str:
    """A Markdown table: a row a machine, a column a job; empty where a machine is not measured."""
    lines = ["| machine | $ an hour | tokens/s |" + "".join(f" {JOBS.get(job, f'{job:,}')} |" for job in jobs)]
    lines.append("| --- | --- | --- |" + " --- |" * len(jobs))
    for machine in machines:
        speed = machine.tokens_per_second
        cells = [_cell(plan(job, machine, **terms)) if speed else "" for job in jobs]
        said = f"{speed:,.0f}" if speed else "not measured"
        lines.append(f"| {machine.name} | {machine.dollars_per_hour:.2f} | {said} | {' | '.join(cells)} |")
    return "\n".join(lines)


def bounds_table(machines: list[Machine], cpu: Machine, job: int, **terms: float) -> str:
    """A Markdown table of cards: what each must do to be as cheap as `cpu`, and what it could do at its peak."""
    head = f"| card | tokens/s to cost no more than {cpu.name} | share of its peak | "
    head += f"{JOBS.get(job, f'{job:,}')} at its peak: a bound, no forecast |"
    lines = [head, "| --- | --- | --- | --- |"]
    for machine in machines:
        tokens = break_even(machine, cpu)
        share = tokens * GFLOP_PER_TOKEN / machine.peak / 1e3
        best = _cell(plan(job, at_best(machine), **terms))
        lines.append(f"| {machine.name} | {tokens:,.0f} | {share:.1%} | {best} |")
    return "\n".join(lines)


def _cell(found: Plan) -> str:
    return f"{found.containers} × {_short(found.hours)} h, ${found.dollars:,.{2 if found.dollars >= 0.1 else 3}f}"


def _short(value: float) -> str:
    """Two digits that count, and no more than four behind the point."""
    digits = min(max(1 - math.floor(math.log10(value)), 0), 4)
    return f"{value:,.{digits}f}"


def read_machine(text: str) -> Machine:
    """`NAME:TOKENS_A_SECOND:DOLLARS_AN_HOUR`, the dollars for all of a container. Raises ArgumentTypeError."""
    try:
        name, speed, dollars = text.rsplit(":", 2)
        machine = Machine(name, float(speed), float(dollars))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:TOKENS_A_SECOND:DOLLARS_AN_HOUR") from None
    if not (0 < float(speed) < math.inf and 0 < float(dollars) < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r}: tokens and dollars must be above 0")
    return machine


def with_measured(machines: list[Machine], measured: list[Machine], most: int) -> list[Machine]:
    """`machines` with the rows replaced that were measured meanwhile, then new ones, with `most` containers."""
    limits = {machine.name: machine.most for machine in machines}
    found = {machine.name: replace(machine, most=limits.get(machine.name, most)) for machine in measured}
    return [found.pop(machine.name, machine) for machine in machines] + list(found.values())


def report(options: argparse.Namespace) -> str:
    """Both tables, and under them what they take for granted."""
    listed = listed_machines(options.max_containers, options.max_gpus, options.rates)
    machines = with_measured(listed, options.machine, options.max_containers)
    start, idle, deadline = options.start_seconds, options.idle_seconds, 3600 * options.deadline_hours
    terms = {"start_seconds": start, "idle_seconds": idle, "deadline_seconds": deadline}
    unmeasured = [machine for machine in machines if machine.tokens_per_second is None]
    return "\n".join(
        [
            jobs_table(machines, options.tokens or list(JOBS), **terms),
            "",
            bounds_table(unmeasured, machines[0], max(options.tokens or JOBS), **terms),
            "",
            f"As few containers as finish in {options.deadline_hours:g} h, at most {options.max_containers}, or "
            f"{options.max_gpus} with a GPU; each paid for {start:g} s of start and {idle:g} s of idling, too. "
            f"{options.rates.words}. {GFLOP_PER_TOKEN} GFLOP a token.",
        ]
    )


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument(
        "--machine", type=read_machine, action="append", default=[], help="a measured machine, see above"
    )
    found.add_argument("--rates", type=read_rates, default=Prices(), help="a file of the account's prices, see above")
    found.add_argument("--tokens", type=int, action="append", help="size of a job; by default 10^3, 10^6, 10^8, 10^10")
    found.add_argument("--deadline-hours", type=float, default=1, help="finish within, where that many may run")
    found.add_argument("--max-containers", type=int, default=MOST_CONTAINERS)
    found.add_argument("--max-gpus", type=int, default=MOST_GPUS)
    found.add_argument("--start-seconds", type=float, default=BOOT_SECONDS + PROCESS_START_SECONDS)
    found.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS)
    return found


def tell(arguments: argparse.ArgumentParser, report: Callable[[argparse.Namespace], str]) -> None:
    """Print the report of what stands on the command line; a ValueError is a slip there."""
    try:
        print(report(arguments.parse_args()))
    except ValueError as error:
        arguments.error(str(error))


def main() -> None:
    tell(parser(), report)


if __name__ == "__main__":
    main()
