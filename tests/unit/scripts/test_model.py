"""scripts/bench/model.py: the arithmetic of docs/scaling.md, and that the page shows its results."""

import subprocess
import sys

import pytest

from tests.support.processes import ROOT

sys.path.append(str(ROOT / "scripts"))

from bench import constants, model

ONE = {
    "gateway_us_per_broadcast": 100.0,
    "gateway_us_per_delivery": 5.0,
    "worker_us_per_broadcast": 100.0,
    "bytes_per_delivery": 150.0,
    "gateway_us_per_join": 250.0,
    "worker_us_per_join": 50.0,
    "us_per_heartbeat": 10.0,
    "bytes_per_connection": 5_000.0,
    "proxy_us_per_broadcast": 1.0,
    "proxy_us_per_copy": 0.5,
}


def test_a_broadcast_goes_once_to_each_gateway_that_has_a_member():
    assert model.copies(1, 10) == pytest.approx(1)
    assert model.copies(10_000, 10) == pytest.approx(10)
    assert 3 < model.copies(4, 10) < 4


def test_twice_the_machines_halve_what_each_holds():
    load = model.Load("rooms", 1_000_000, 1_000, 100, 100)
    small, large = (model.predict(load, ONE, machines, 2) for machines in (4, 8))
    assert large.memory_gb == small.memory_gb / 2 == pytest.approx(0.625)
    assert large.network_mbit == small.network_mbit / 2
    assert large.workers == small.workers
    assert large.proxy > small.proxy, "more gateways, more copies"


def test_the_first_that_is_full_is_named():
    many = model.Load("many", 1_000_000, 600_000, 1, 0)
    made = model.predict(many, ONE, 100, 1)
    assert made.limit == "proxy"
    assert made.proxies_wanted == 2
    assert model.predict(many, ONE, 4, 8).limit == "workers"
    assert model.predict(model.Load("one", 1_000, 1, 1, 0), ONE, 4, 2).limit == ""


def test_a_proxy_is_full_at_its_limit():
    rate = model.proxy_limit(ONE, 100, 8)
    load = model.Load("rooms", 1_000_000, rate, 100, 0)
    assert model.predict(load, ONE, 8, 1).proxy == pytest.approx(model.MAX_CORE_SHARE)


def test_a_line_is_found_over_three_orders_of_magnitude():
    points = [(x, 70 + 6 * x) for x in (10, 100, 1_000, 10_000)]
    assert constants.line(points) == (pytest.approx(70), pytest.approx(6))


def test_the_page_shows_what_the_measured_constants_predict():
    page = (ROOT / "docs/scaling.md").read_text()
    command = [sys.executable, "scripts/scaling.py"]
    printed = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    for table in printed.strip().split("\n\n"):
        assert table in page, f"docs/scaling.md is not of these constants; it wants:\n{table}"
