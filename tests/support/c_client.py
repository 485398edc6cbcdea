"""The C client: compiled as a user would with every warning an error, and driven line by line."""

import contextlib
import fcntl
import json
import shlex
import subprocess
import threading
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.until import LONG, PATIENCE

CLIENT = ROOT / "clients" / "c"
PROGRAMS = ROOT / "tests" / "clients" / "c"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZED = [
    "-g",
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]

OK, ERROR, OTHER, TIMEOUT, CLOSED = "1", "2", "3", "4", "5"
"""Kinds of replies."""
LOST, REFUSED, ENDED = "1", "2", "3"
"""Kinds of a connection's end."""
INVALID, STATE, EXISTS, FULL, TOO_BIG, NOT_JSON = -1, -3, -7, -9, -10, -11
"""What calls of the library return."""
GUIDES = ROOT / "docs" / "guides"
PAGES = [CLIENT / "README.md", GUIDES / "clients.md", GUIDES / "nothing-missed.md"]
BLOCKS = [block.split("```")[0] for page in PAGES for block in page.read_text().split("```c\n")[1:]]
"""The C code of the documentation."""


def pkg_config(option):
    done = subprocess.run(["pkg-config", option, "libzmq"], capture_output=True, text=True, check=True)
    return shlex.split(done.stdout)


def compile_c(directory, name, *sources, flags=SANITIZED):
    """One program; returns where it lies."""
    program = Path(directory) / name
    command = [
        "cc",
        *STRICT,
        *flags,
        f"-I{CLIENT}",
        *pkg_config("--cflags"),
        *map(str, sources),
        "-o",
        program,
    ]
    libraries = [] if "-c" in flags else pkg_config("--libs")
    done = subprocess.run([*command, *libraries], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return program


class Build:
    """Programs with the sanitizers, each compiled once, also if several processes want it at once."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(exist_ok=True)

    def library(self):
        """channelmesh.c as an object file."""
        return self._once("channelmesh.o", CLIENT / "channelmesh.c", flags=[*SANITIZED, "-c"])

    def program(self, name, source):
        """One that uses the library."""
        return self._once(name, source, self.library())

    def alone(self, source):
        """One that includes channelmesh.c, to see what is static there."""
        return self._once(source.stem, source)

    def _once(self, name, *sources, flags=SANITIZED):
        with (self.directory / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
            if not (self.directory / name).exists():
                compile_c(self.directory, f"{name}.part", *sources, flags=flags).rename(
                    self.directory / name
                )
        return self.directory / name


def output(*command, **options):
    """What a program prints that must succeed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=LONG, **options)
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


class Program:
    """A program whose lines are waited for; its errors count as failures."""

    def __init__(self, *command):
        self.lines = []
        self._unread = []
        self._over = False
        self._changed = threading.Condition()
        self.popen = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._unread.append(self.lines[-1])
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def write(self, line):
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()

    def wait(self, matches, seconds=PATIENCE):
        """Take the first line that matches and was not taken yet."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._over or any(map(matches, self._unread)), seconds), (
                self.lines[-50:]
            )
            for index, line in enumerate(self._unread):
                if matches(line):
                    return self._unread.pop(index)
            raise AssertionError("\n".join(self.lines[-100:]))

    def end(self):
        """No more input; returns the exit code."""
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.close()
        try:
            return self.popen.wait(PATIENCE)
        finally:
            self.kill()

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.popen.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.close()


class Driver(Program):
    """tests/clients/c/driver.c."""

    def do(self, *fields):
        """(status, detail) of a command."""
        self.write("\t".join(map(str, fields)))
        line = self.wait(lambda line: line.startswith("status\t"))
        _, status, detail = line.split("\t")
        return int(status), detail

    def ok(self, *fields):
        assert self.do(*fields) == (0, "")

    def next(self, *fields):
        """The rest of the next report that starts with these fields."""
        line = self.wait(lambda line: line.split("\t")[: len(fields)] == list(fields))
        return line.split("\t")[len(fields) :]

    def opened(self):
        self.ok("connect")
        self.next("open")

    def join(self, topic, payload="{}"):
        """(status, response)."""
        self.ok("join", topic, payload)
        return self.answered("join", topic)

    def answered(self, *fields):
        status, kind, data = self.next(*fields)
        return status, json.loads(data) if kind == "text" else bytes.fromhex(data)

    def push(self, topic, event, payload, timeout=0, name="push"):
        """(kind, status, response) of a reply; bytes as payload are pushed as such."""
        self.begin_push(topic, event, payload, timeout, name)
        return self.reply(name)

    def begin_push(self, topic, event, payload, timeout=0, name="push"):
        binary = isinstance(payload, bytes)
        text = payload.hex() if binary else json.dumps(payload)
        self.ok("bytes" if binary else "push", topic, event, text, timeout, name)

    def reply(self, name="push"):
        kind, status, form, data = self.next("reply", name)
        return kind, status, json.loads(data) if form == "text" else bytes.fromhex(data)

    def event(self, topic, event):
        form, data = self.next("event", topic, event)
        return json.loads(data) if form == "text" else bytes.fromhex(data)

    def reports(self, kind):
        """All so far."""
        with self._changed:
            return [line.split("\t")[1:] for line in self.lines if line.split("\t")[0] == kind]


@contextlib.contextmanager
def driver(program, address, **options):
    """A client; at the end it must have freed everything, each reply called once."""
    options = {"timeout_ms": 600_000, **options}
    made = Driver(program, f"address={address}", *(f"{name}={value}" for name, value in options.items()))
    try:
        yield made
        assert made.end() == 0, made.lines[-50:]
        assert "freed" in made.lines, made.lines[-50:]
    finally:
        made.kill()
