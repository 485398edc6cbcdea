"""clients/c while workers and its gateway die, and before its gateway starts."""

import signal

from tests.support.c_client import ENDED, LOST, OK, driver
from tests.support.processes import serve


def test_a_killed_worker_is_an_error_of_its_channels_and_they_join_again(driver_program, clusters):
    running, address = clusters.one_gateway()
    with driver(driver_program, address) as client:
        client.opened()
        topics = [f"room:{number}" for number in range(24)]
        for topic in topics:
            assert client.join(topic)[0] == "ok"
        running.kill("workers", 0)
        failed = [client.next("error")[0]]
        client.answered("join", failed[0])
        for topic in topics:
            assert client.push(topic, "echo", topic) == (OK, "ok", topic)
        failed += [each[0] for each in client.reports("error") if each[0] != failed[0]]
        assert 0 < len(failed) < 24
        assert client.reports("end") == []


def test_a_killed_gateway_is_found_again_on_its_port_and_all_is_joined_again(driver_program, clusters):
    running, address = clusters.one_gateway()
    with driver(driver_program, address) as client:
        client.opened()
        topics = [f"room:{number}" for number in range(10)]
        for topic in topics:
            client.join(topic)
        for number, code in ((signal.SIGKILL, [LOST, "0"]), (signal.SIGTERM, [ENDED, "1012"])):
            old = running.kill("gateways", 0, number)
            client.next("end", *code)
            for topic in topics:
                client.next("error", topic)
                client.begin_push(topic, "echo", topic, timeout=600_000, name=topic)  # waits
            running.wait_restarted("gateways", 0, old)
            client.next("open")
            for topic in topics:
                assert client.answered("join", topic) == ("ok", {"topic": topic})
                assert client.reply(topic) == (OK, "ok", topic)
        assert client.reports("dropped") == []


def test_a_client_that_starts_before_its_gateway_comes_in_when_it_is_there(driver_program, tmp_path):
    address = f"ipc://{tmp_path}/clients"
    with driver(driver_program, address) as client:
        client.ok("join", "room:1", "{}")
        client.begin_push("room:1", "echo", 1)
        client.ok("connect")
        ends = [client.next("end") for _ in range(4)]
        assert [each[0] for each in ends] == [LOST] * 4
        assert [each[3] for each in ends] == ["10", "50", "100", "150"]
        with serve(tmp_path, "examples.conformance:endpoint", env={"MESH_ZEROMQ__BIND": address}):
            assert client.answered("join", "room:1") == ("ok", {"topic": "room:1"})
            assert client.reply() == (OK, "ok", 1)
            client.ok("disconnect")
