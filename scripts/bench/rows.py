"""The rows: the work, Phoenix's figures, and our goals."""

from collections.abc import Callable

from bench import (
    bus_load,
    death,
    generator,
    joining,
    kept_load,
    light,
    presence_load,
    recovery_load,
    tls,
    topics_load,
)
from bench.row import COST, JOIN_CPU, JOINS, MEMORY, P99, Figure, Report, Row, Run, throughput
from bench.servers import HISTORY_APP


def windowed(arguments: str, size: int = 100) -> Callable[[Run], Report]:
    """Make a row's work that runs wsload for the measured seconds."""

    def work(run: Run) -> Report:
        warm = ["--warmup", str(min(WARM_SECONDS, run.seconds))]
        extra = ["--size", str(size), "-s", str(run.seconds), *warm]
        return generator.run(run.wsload, run.server, [*capped(run, arguments), *extra])

    return work


def capped(run: Run, arguments: str) -> list[str]:
    """Limit the connections, topics and publishers in wsload's arguments, for small trials."""
    words = arguments.split()
    for at, word in enumerate(words[:-1]):
        if word in ("-n", "--topics", "--pubs"):
            words[at + 1] = str(run.capped(int(words[at + 1])))
    return words


def to_completion(arguments: str) -> Callable[[Run], Report]:
    """Make a row's work that runs wsload until its work is done."""
    return lambda run: generator.run(run.wsload, run.server, capped(run, arguments))


WARM_SECONDS = 2.0
OURS = ("embedded", "cluster")
DEATH = (
    Figure("error_ms_p99", "p99 {:.0f} ms until phx_error", lower=True),
    Figure("error_ms_median", "median {:.0f} ms", lower=True),
    Figure("error_ms_max", "max {:.0f} ms", lower=True),
    Figure("error_cpu_ms", "{:.0f} ms of the gateway's CPU until the last", lower=True),
    Figure("flow_ms_max", "{:.0f} ms at most for others", lower=True),
    Figure("lost", "{:.0f} channels lost"),
)
WINDOW_8 = {"": 91_200.0, "cluster2": 110_800.0}

KEPT = (
    Figure("kept_per_plain", "{:5.2f} times the CPU of a broadcast without history", lower=True),
    Figure("kept_us", "{:6.1f} us", lower=True),
    Figure("plain_us", "instead of {:6.1f} us", lower=True),
)
ASKING = (
    ("without history", "--topic-prefix bench:"),
    ("with history", "--topic-prefix kept:"),
    ("with positions", '--topic-prefix kept: --join-payload {"history":{}}'),
)

ROWS: list[Row] = [
    Row(
        "fanout 1 x 1000, window 8",
        windowed("fanout -n 1000 --topics 1 --pubs 1 --rate max --window 8 --ack own"),
        (throughput(WINDOW_8, 300_000, 500_000), COST, P99),
    ),
    Row(
        "fanout 1 x 1000, 40 per second",
        windowed("fanout -n 1000 --topics 1 --pubs 1 --rate 40"),
        (
            throughput(63_500, 130_000, 160_000),
            COST,
            Figure("lat_ms_p99", "p99 {:.1f} ms", True, {"": 15.1}, 15.0, 8.0),
        ),
        bare=True,
    ),
    Row(
        "fanout 100 x 10, window 1",
        windowed("fanout -n 1000 --topics 100 --pubs 100 --rate max --window 1 --ack own"),
        (throughput(58_900, 60_000, 120_000), COST, P99),
    ),
    Row(
        "echo 100, window 1",
        windowed("echo -n 100 --window 1"),
        (throughput(24_200, 20_000, 30_000), COST, P99),
    ),
    Row(
        "echo 100, window 16",
        windowed("echo -n 100 --window 16"),
        (throughput(39_500, 40_000, 60_000), COST, P99),
    ),
    Row("join 5000, 64 at a time", to_completion("joinstorm -n 5000 --src 4 --conc 64"), (JOIN_CPU, JOINS)),
    Row("joinstorm 5000", to_completion("joinstorm -n 5000 --src 4"), (JOIN_CPU, JOINS)),
    Row(
        "hold 10000",
        windowed("hold -n 10000 --per-topic 10 --src 4 --settle 2 --hb 30"),
        (MEMORY, JOIN_CPU, JOINS),
    ),
    Row(
        "hold 19900",
        windowed("hold -n 19900 --per-topic 10 --src 4 --settle 2 --hb 30"),
        (MEMORY, JOIN_CPU, JOINS),
    ),
    Row(
        "fanout 1 x 1000, 10 kB, 10 per second",
        windowed("fanout -n 1000 --topics 1 --pubs 1 --rate 10", size=10_000),
        (throughput(), COST, P99),
    ),
    Row("clients 100, 20 per second: json", light.fixed(light.over("ws"), 100, 20), (COST, P99)),
    Row(
        "clients 100, 20 per second: msgpack",
        light.fixed(light.over("ws", "msgpack"), 100, 20),
        (COST, P99),
    ),
    Row(
        "clients 100, 20 per second: tls",
        light.fixed(light.over("wss"), 100, 20),
        (COST, P99),
        tls.make_certificate,
        OURS,
    ),
    Row(
        "clients 100, 20 per second: zeromq",
        light.fixed(light.over("zeromq"), 100, 20),
        (COST, P99),
        lambda directory: {"MESH_ZEROMQ__BIND": f"ipc://{directory}/clients"},
        ("embedded", "cluster1"),
    ),
    Row("clients 100, 10 per second: longpoll", light.fixed(light.by_longpoll, 100, 10), (COST, P99)),
    Row(
        "presence: 1000 join a topic",
        presence_load.joining(1000),
        (
            Figure("presence_cpu_ms", "{:7.2f} ms CPU per join, all diffs included", lower=True),
            Figure("diff_bytes", "{:5.0f} bytes of diff per join", lower=True),
            Figure("kb_in_per_join", "{:7.0f} kB to all members per join", lower=True),
        ),
    ),
    Row(
        "topics 100000: memory",
        topics_load.memory(100_000),
        (
            Figure("kb_per_topic", "{:6.2f} kB per topic with one member", lower=True),
            Figure("topic_join_cpu_ms", "{:.3f} ms CPU per join", lower=True),
        ),
        topics_load.SETTINGS,
        OURS,
    ),
    Row(
        "proxy: 100000 broadcasts per second",
        bus_load.through_the_proxy(100_000),
        (
            Figure("bus_per_s", "{:>8,.0f} per second"),
            Figure("proxy_us_per_msg", "{:5.2f} us of the proxy each", lower=True),
            Figure("dropped", "{:.0f} dropped", lower=True),
        ),
        {},
        ("cluster1",),
    ),
    Row(
        "stalls: 10000 join, 40000 deliveries per second flow",
        joining.under_load(1000, 40, 10_000),
        (
            Figure("stall_ms", "worst stall {:.1f} ms", True, None, 20.0, 10.0),
            Figure("stall_cpu_ms", "{:.1f} ms of the node's own CPU", lower=True),
            Figure("stalls_over_20_ms", "{:.0f} over 20 ms", lower=True),
            Figure("stall_ms_p999", "p99.9 below {:.1f} ms", lower=True),
            P99,
            JOINS,
        ),
        joining.SETTINGS,
    ),
    *(
        Row(
            f"death: {channels} channels, {per_topic} to a topic, {busy} busy processes",
            death.killed(channels, per_topic, busy),
            DEATH,
            death.SETTINGS,
            ("cluster1",),
        )
        for channels, per_topic in ((10_000, 1), (20_000, 1_000))
        for busy in (0, 4)
    ),
    Row(
        "history: 5000 broadcasts per second of channels",
        kept_load.by_channels(5_000),
        KEPT,
        kinds=OURS,
        app=HISTORY_APP,
    ),
    Row(
        "history: 5000 broadcasts per second of another node",
        kept_load.by_another_node(5_000),
        KEPT,
        kinds=("cluster",),
        app=HISTORY_APP,
    ),
    *(
        Row(
            f"history: fanout 1 x {members}, 40 per second, {word}",
            windowed(f"fanout -n {members} --topics 1 --pubs 1 --rate 40 {arguments}"),
            (COST, P99),
            kinds=OURS,
            app=HISTORY_APP,
        )
        for members in (100, 1_000)
        for word, arguments in ASKING
    ),
    Row(
        "history: 10000 clients recover after a gateway's death",
        recovery_load.after_a_death(10_000),
        (
            Figure("recovery_cpu_ms", "{:.3f} ms CPU per recovery of 20 messages", lower=True),
            Figure("recovery_s", "all joined after {:.2f} s", lower=True),
            P99,
            Figure("recovered", "{:.0f} recovered"),
        ),
        kinds=tuple(f"cluster{gateways}" for gateways in ("2", "2x2")),
        app=HISTORY_APP,
    ),
]
