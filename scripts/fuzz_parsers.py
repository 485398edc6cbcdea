"""Searches for bytes that break a parser, guided by code coverage (atheris, libFuzzer).

    pip install 'channelmesh[fuzz]'
    python scripts/fuzz_parsers.py --seconds 300
    python scripts/fuzz_parsers.py --parser "bus message" --runs 1000000 --corpus corpus/

It runs every parser of tests/support/parsers.py, or those named, each in its own process and with an equal
share of the time. An exception that a parser must not raise, more than 30 seconds, or more than 1 GB ends
its run; the input is printed, and saved under --corpus. The exit code is 1 if there was any such input.
--together runs all parsers in one process, which is faster for short runs; the first byte selects the
parser.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
MISSING = (
    "fuzz_parsers.py needs atheris, which has wheels for CPython 3.11 to 3.14 on x86-64 Linux:"
    " pip install 'channelmesh[fuzz]'"
)
MAX_BYTES = 4_096
TOGETHER = "all together"
MODULES = ["mesh"]


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, help="time for all parsers together")
    parser.add_argument("--runs", type=int, help="inputs for each parser, instead of --seconds")
    parser.add_argument("--parser", action="append", help="only this parser; repeatable")
    parser.add_argument(
        "--corpus", type=Path, help="save inputs that reach new code or break a parser in this directory"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--together", action="store_true", help="one process for all parsers")
    parser.add_argument("--list", action="store_true", help="print the parsers' names and exit")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def child(options: argparse.Namespace) -> None:
    """Fuzz one parser in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=MODULES):
        from tests.support.parsers import BY_PARSER, read, together

    parser = BY_PARSER[options.child] if options.child != TOGETHER else together(BY_PARSER)
    directory = options.corpus / options.child.replace(" ", "-").replace(",", "")
    seeds = directory / "corpus"
    seeds.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds):
        (seeds / f"seed-{number}").write_bytes(seed)

    def fuzz_input(data: bytes) -> None:
        value = read(parser, data)
        if parser.again is not None and not isinstance(value, Exception):
            read(parser, parser.again(value))

    flags = [f"-seed={options.seed}", f"-max_len={MAX_BYTES}", "-timeout=30", "-rss_limit_mb=1024"]
    flags.append(f"-artifact_prefix={directory}/broken-")
    if options.runs is not None:
        flags.append(f"-runs={options.runs}")
    if options.seconds is not None:
        flags.append(f"-max_total_time={max(1, round(options.seconds))}")
    atheris.Setup([sys.argv[0], *flags, str(seeds)], fuzz_input)
    atheris.Fuzz()


def fuzz(name: str, options: argparse.Namespace, seconds: float | None, corpus: Path) -> bool:
    """Fuzz one parser in its own process; return whether nothing broke it."""
    command = [
        sys.executable,
        __file__,
        "--child",
        name,
        "--corpus",
        str(corpus),
        "--seed",
        str(options.seed),
    ]
    command += ["--runs", str(options.runs)] if options.runs is not None else []
    command += ["--seconds", str(seconds)] if seconds is not None else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    report = done.stdout + done.stderr
    ran = [line for line in report.splitlines() if line.startswith("Done ")]
    print(f"{name:24}{ran[0] if ran else 'BROKEN'}", flush=True)
    if done.returncode or not ran:
        print(report[-4_000:], flush=True)
        return False
    return True


def main() -> None:
    """Run it and print the result."""
    options = arguments()
    try:
        import atheris  # noqa: F401
    except ImportError:
        sys.exit(MISSING)
    if options.child is not None:
        child(options)
    from tests.support.parsers import BY_PARSER

    names = options.parser or list(BY_PARSER)
    unknown = [name for name in names if name not in BY_PARSER]
    if unknown or options.list:
        print("\n".join(BY_PARSER))
        sys.exit(f"there is no parser {unknown[0]!r}; want one of those above" if unknown else 0)
    if options.runs is None and options.seconds is None:
        options.seconds = 300.0
    if options.together:
        names = [TOGETHER]
    seconds = options.seconds / len(names) if options.seconds is not None else None
    print(f"seed {options.seed}, {len(names)} parsers", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        corpus = options.corpus or Path(temporary)
        broken = [name for name in names if not fuzz(name, options, seconds, corpus.absolute())]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}; seed {options.seed}")


if __name__ == "__main__":
    main()
