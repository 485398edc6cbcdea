"""nodes/cluster/supervisor.py: children that die, do not stop, or never can run."""

import asyncio
import os
import signal
import sys

import pytest

from mesh.nodes.cluster.child_output import Lines
from mesh.nodes.cluster.supervisor import Child, Supervisor
from tests.support.until import until

FOREVER = "import signal; print('up', flush=True); signal.pause()"


def child(name, code, rank=0):
    return Child(name, lambda: [sys.executable, "-c", code], stop_rank=rank)


def supervise(scenario, *children):
    async def main():
        supervisor = Supervisor(list(children))
        running = asyncio.create_task(supervisor.run())
        try:
            await scenario(supervisor)
            supervisor.stop()
            return await running
        finally:
            for each in children:
                if each.pid:
                    os.kill(each.pid, signal.SIGKILL)

    return asyncio.run(main())


def test_a_killed_child_is_started_again_and_its_lines_carry_its_name(capfd):
    one = child("one.1", FOREVER)

    async def scenario(_):
        await until(lambda: one.pid)
        first = one.pid
        os.kill(first, signal.SIGKILL)
        await until(lambda: one.pid not in (None, first))

    assert supervise(scenario, one) == 0
    output = capfd.readouterr().err
    assert "one.1 │ was killed by SIGKILL; restarting in 0.1 s" in output


@pytest.mark.parametrize("number", [signal.SIGRTMIN + 3, signal.SIGRTMAX, signal.SIGSYS])
def test_a_child_is_started_again_whatever_signal_killed_it(capfd, number):
    one = child("one", FOREVER)

    async def scenario(_):
        await until(lambda: one.pid)
        first = one.pid
        os.kill(first, number)
        await until(lambda: one.pid not in (None, first))

    supervise(scenario, one)
    assert "one │ was killed by " in capfd.readouterr().err


@pytest.mark.parametrize("error", [OSError("no memory"), ValueError("no path")], ids=repr)
def test_a_child_that_cannot_be_started_now_is_started_later(capfd, monkeypatch, error):
    one, tries, start = child("one", FOREVER), [], asyncio.create_subprocess_exec

    async def fail_twice(*arguments, **options):
        tries.append(arguments)
        if len(tries) <= 2:
            raise error
        return await start(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail_twice)

    async def scenario(_):
        await until(lambda: one.pid)

    supervise(scenario, one)
    assert f"one │ cannot be started: {error}; restarting in 0.2 s" in capfd.readouterr().err


def test_a_child_that_fails_again_and_again_waits_longer_each_time(capfd):
    one = child("one", "raise SystemExit(7)")

    async def scenario(_):
        await until(lambda: one.starts >= 3)

    supervise(scenario, one)
    output = capfd.readouterr().err
    for seconds in ("0.1", "0.2"):
        assert f"ended with exit code 7; restarting in {seconds} s" in output


def test_a_child_whose_settings_are_wrong_stops_everything(capfd):
    good, bad = child("good", FOREVER), child("bad", "raise SystemExit(2)")

    async def main():
        return await Supervisor([good, bad]).run()

    assert asyncio.run(main()) == 2
    assert good.process.returncode == -signal.SIGTERM
    assert bad.starts == 1


def test_children_are_stopped_by_rank(capfd):
    code = (
        "import signal, sys, time\n"
        "def stop(*_): print('stopping', flush=True); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop); print('up', flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    first, last = child("first", code, 0), child("last", code, 1)
    seen = []

    async def scenario(_):
        def both_up():
            seen.append(capfd.readouterr().err)
            return "".join(seen).count("up") >= 2

        await until(both_up)

    assert supervise(scenario, last, first) == 0
    output = "".join(seen) + capfd.readouterr().err
    assert output.index("first │ stopping") < output.index("last  │ stopping")


def test_children_end_with_a_supervisor_that_is_killed(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from mesh.nodes.cluster.supervisor import Child, Supervisor\n"
        f"child = Child('one', lambda: [sys.executable, '-c', {FOREVER!r}])\n"
        f"report = lambda: open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "asyncio.run(Supervisor([child], report).run())\n"
    )

    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL
        )
        pid_file = tmp_path / "pid"
        await until(lambda: pid_file.exists() and pid_file.read_text())
        pid = int(pid_file.read_text())
        process.kill()
        await process.wait()

        def gone():
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    return stat.read().split()[2] == "Z"
            except (FileNotFoundError, ProcessLookupError):
                return True

        await until(gone)

    asyncio.run(main())


def test_a_dead_child_is_restarted_although_its_own_child_keeps_the_pipe_open(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import subprocess, sys\n"
        f"other = subprocess.Popen([sys.executable, '-c', {FOREVER!r}])\n"
        f"open({str(pids)!r}, 'a').write(f'{{other.pid}} ')\n"
        "raise SystemExit(7)"
    )
    one = child("one", code)

    async def scenario(_):
        await until(lambda: one.starts >= 2)

    try:
        supervise(scenario, one)
    finally:
        for pid in pids.read_text().split():
            os.kill(int(pid), signal.SIGKILL)


def test_a_second_signal_kills_children_that_do_not_stop(capfd):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
    one = child("one", code)

    async def scenario(supervisor):
        await until(lambda: "up" in capfd.readouterr().err)
        supervisor.stop()
        for _ in range(1000):  # also while it ends: this must not cost its exit code
            supervisor.kill()

    assert supervise(scenario, one) == 0
    assert one.process.returncode == -signal.SIGKILL


def test_lines_are_cut_at_a_bound_and_say_so():
    lines = Lines(limit=10)
    assert lines.feed(b"one\ntw") == ["one"]
    assert lines.feed(b"o\r\n" + b"x" * 25) == ["two"]
    assert lines.feed(b"y" * 1_000_000) == []
    assert lines.feed(b"z\nnext\nrest") == ["xxxxxxxxxx… (1000016 more bytes)", "next"]
    assert lines.end() == ["rest"]
    assert lines.end() == []
