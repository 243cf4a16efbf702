"""What a large job takes: `python -m tests.benchmarks.plan [--machine NAME:TOKENS_A_SECOND:DOLLARS_AN_HOUR]…`.

Containers, hours and dollars for so many tokens, on the CPU as measured and on GPUs at Modal's list prices. A card that
nobody measured gets no hours: the second table says what it would have to do to cost no more than the CPU, and what no
card of its kind can beat. Give a figure of your own with --machine; under a listed card's name it replaces that row.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

# Of a second, from https://modal.com/pricing as transcribed on 2026-07-01 in
# https://github.com/api-evangelist/modal-labs/blob/main/plans/modal-labs-plans-pricing.yml (the same on 2026-05-25 in
# api-evangelist/modal-com). The page itself was not read; list prices change.
PRICES_READ = "2026-07-01"
CORE = 0.0000131  # a physical core
GIB = 0.00000222  # of memory
GPUS = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-40GB": 0.000583,
    "A100-80GB": 0.000694,
    "H100": 0.001097,
    "H200": 0.001261,
    "B200": 0.001736,
}
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
# README, Figures: 32 texts of 22 tokens in one call on two cores, seconds a text.
CPU_SECONDS = {"int8": 0.0096, "float32": 0.0160}
CPU_TOKENS = 22
PROCESS_START_SECONDS = 2.3  # README, Deploy to Modal: from a container's process to ready
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


def container_dollars(gpu_second: float = 0) -> float:
    """Dollars an hour of a container of modal_app.py, with a card of that price a second."""
    memory = MEMORY_GIB_BESIDE_GPU if gpu_second else MEMORY_GIB
    return 3600 * (CORES * CORE + memory * GIB + gpu_second)


def listed_machines(most_containers: int, most_gpus: int) -> list[Machine]:
    """The CPU in both precisions, as measured, and Modal's cards, which are not."""
    cpus = [
        Machine(f"{CORES} CPU cores, {precision}", CPU_TOKENS / seconds, container_dollars(), most_containers)
        for precision, seconds in CPU_SECONDS.items()
    ]
    return cpus + [Machine(name, None, container_dollars(GPUS[name]), most_gpus, PEAKS[name]) for name in GPUS]


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
    listed = listed_machines(options.max_containers, options.max_gpus)
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
            f"Modal's list prices as of {PRICES_READ}. {GFLOP_PER_TOKEN} GFLOP a token.",
        ]
    )


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument(
        "--machine", type=read_machine, action="append", default=[], help="a measured machine, see above"
    )
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
