"""Containers, hours and dollars of a large job."""

import argparse
import importlib
import json
import re
from pathlib import Path

import pytest

from tests.benchmarks.autoscaler import Policy
from tests.benchmarks.plan import (
    CORES,
    CPU_SECONDS,
    CPU_TOKENS,
    GFLOP_PER_TOKEN,
    IDLE_SECONDS,
    MEMORY_GIB,
    PROCESS_START_SECONDS,
    Machine,
    Plan,
    at_best,
    break_even,
    container_dollars,
    listed_machines,
    main,
    parser,
    plan,
    read_rates,
    report,
)
from tests.cli import ROOT

FIGURES, MODAL = ((ROOT / "docs" / page).read_text() for page in ("figures.md", "modal.md"))
PLAN = (ROOT / "tests/benchmarks/README.md").read_text()
TERMS = {"start_seconds": 10, "idle_seconds": 50, "deadline_seconds": 3610}


def machine(speed: float | None = 1000, most: int = 100) -> Machine:
    return Machine("a machine", speed, 3.6, most)


def test_a_small_job_takes_one_container_and_pays_its_start_and_idling() -> None:
    found = plan(1_000_000, machine(), **TERMS)

    assert found == Plan(1, pytest.approx((10 + 1000) / 3600), pytest.approx(3.6 * (1000 + 10 + 50) / 3600))


def test_no_more_containers_are_taken_than_the_deadline_needs() -> None:
    exactly, a_little_more = (plan(tokens, machine(), **TERMS) for tokens in (7_200_000, 7_200_001))

    assert (exactly.containers, a_little_more.containers) == (2, 3)
    assert exactly.hours == pytest.approx(3610 / 3600)


def test_a_job_too_large_for_the_containers_there_are_takes_longer() -> None:
    found = plan(36_000_000, machine(most=2), **TERMS)

    assert found == Plan(2, pytest.approx(18_010 / 3600), pytest.approx(3.6 * (36_000 + 2 * 60) / 3600))


@pytest.mark.parametrize(
    ("tokens", "which", "deadline"),
    [(1, machine(None), 60), (0, machine(), 60), (1, machine(most=0), 60), (1, machine(), 10)],
)
def test_a_plan_without_a_measurement_or_a_job_or_time_is_refused(tokens: int, which: Machine, deadline: float) -> None:
    with pytest.raises(ValueError, match=r"not measured|1 or more|not before"):
        plan(tokens, which, start_seconds=10, idle_seconds=0, deadline_seconds=deadline)


def test_at_break_even_a_token_costs_the_same_on_both() -> None:
    cpu, *_, dear = listed_machines(100, 10)

    speed = break_even(dear, cpu)

    assert dear.dollars_per_hour / speed == pytest.approx(cpu.dollars_per_hour / cpu.tokens_per_second)


def test_nothing_is_faster_than_its_peak() -> None:
    (card,) = [found for found in listed_machines(100, 10) if found.name == "L4"]

    assert at_best(card).tokens_per_second == pytest.approx(121e12 / (GFLOP_PER_TOKEN * 1e9))


def test_cards_have_no_hours_until_they_are_measured() -> None:
    unmeasured, measured = (report(parser().parse_args(line)) for line in ([], ["--machine", "L4:200000:1.5"]))

    assert re.search(r"^\| L4 \| 0.96 \| not measured \|( +\|){4}$", unmeasured, re.MULTILINE)
    assert re.search(r"^\| L4 \| 1.50 \| 200,000 \| 1 × .* \| 10 × 1.4 h, \$21.10 \|$", measured, re.MULTILINE)
    assert measured.count("| L4 |") == 1


@pytest.mark.parametrize("unit", [1, 3600])
def test_an_accounts_own_prices_take_the_place_of_those_listed(tmp_path: Path, unit: int) -> None:
    rates = {"cpu_core": str(0.00001 * unit), "Memory (GiB)": str(0.000002 * unit), "gpu-l4": str(0.0002 * unit)}
    rates["gpu-l40s"] = str(0.0005 * unit)
    (tmp_path / "rates.json").write_text(json.dumps(rates))

    prices = read_rates(str(tmp_path / "rates.json"))
    told = report(parser().parse_args(["--rates", str(tmp_path / "rates.json")]))

    assert container_dollars(None, prices) == pytest.approx(3600 * (2 * 0.00001 + 1.5 * 0.000002))
    assert container_dollars("L4", prices) == pytest.approx(3600 * (2 * 0.00001 + 8 * 0.000002 + 0.0002))
    assert "The account's own prices, but Modal's list prices for T4, A10, A100-40GB" in told


@pytest.mark.parametrize("content", ["no json", "[]", "{}", '{"cpu": "free"}', '{"cpu": "1000000"}'])
def test_a_file_that_holds_no_rates_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "rates.json").write_text(content)

    with pytest.raises(argparse.ArgumentTypeError, match=r"rates\.json"):
        read_rates(str(tmp_path / "rates.json"))


def test_a_machine_of_the_users_own_keeps_to_the_most_containers_there_may_be() -> None:
    told = report(parser().parse_args(["--machine", "mine:1000:1", "--max-containers", "5"]))

    assert re.search(r"^\| mine \| 1.00 \| 1,000 \| .* 5 × 556 h, \$2,777.\d\d \|$", told, re.MULTILINE)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--machine", "L4:fast:1"], "NAME:TOKENS_A_SECOND:DOLLARS_AN_HOUR"),
        (["--machine", "L4:0:1"], "above 0"),
        (["--tokens", "0"], "1 or more"),
        (["--deadline-hours", "0"], "not before"),
    ],
)
def test_a_slip_on_the_command_line_is_told_without_a_traceback(
    line: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["plan", *line])

    with pytest.raises(SystemExit):
        main()

    assert words in capsys.readouterr().err


def test_the_constants_are_the_figures_of_the_docs_and_the_settings_of_modal_app() -> None:
    rows = {row[:2]: row[2] for row in re.findall(r"^\| ([^|]+) \| (\w+) \| ([\d.]+) m?s \|", FIGURES, re.MULTILINE)}
    seconds = {name: float(rows[f"32 × {CPU_TOKENS} tokens, a text", name]) / 1e3 for name in CPU_SECONDS}
    app = importlib.reload(importlib.import_module("modal_app"))
    policy = Policy()

    assert pytest.approx(seconds) == CPU_SECONDS
    assert f"a container is ready {PROCESS_START_SECONDS} s after" in MODAL
    assert (app.CONTAINER["cpu"][0], app.CONTAINER["memory"][0] / 1024) == (CORES, MEMORY_GIB)
    assert app.CORPUS_IDLE_SECONDS == IDLE_SECONDS
    assert app.SCALING["scaledown_window"] == policy.scaledown_window
    assert app.SCALING["max_containers"] == policy.max_containers
    assert (policy.max_inputs, policy.target_inputs) == (app.CHOICES.max_requests, app.CHOICES.target_requests)


def test_the_readme_has_the_tables_as_printed() -> None:
    assert report(parser().parse_args([])) in PLAN
