"""Predicts CPU, memory and network of a mesh from measured constants: the tables of docs/scaling.md.

python scripts/scaling.py                               # the tables, for one million connections
python scripts/scaling.py --machines 20 --broadcasts 2000 --members 500
python scripts/growth.py --json growth.json && python scripts/scaling.py --constants growth.json
"""

import argparse
from pathlib import Path

from bench import model


def main() -> None:
    """Print the tables, or the prediction for one load."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--constants", type=Path, default=model.MEASURED, help="a file written by growth.py --json"
    )
    parser.add_argument(
        "--machines", type=int, help="predict for this number of machines, instead of printing the tables"
    )
    parser.add_argument("--connections", type=int, default=1_000_000)
    parser.add_argument(
        "--broadcasts", type=float, default=1_000, help="broadcasts per second in the whole mesh (1000)"
    )
    parser.add_argument("--members", type=int, default=100, help="members of a topic (100)")
    parser.add_argument("--joins", type=float, default=1_000, help="connects and joins per second (1000)")
    parser.add_argument("--proxies", type=int, default=2)
    options = parser.parse_args()
    constants = model.read(options.constants)
    if options.machines is None:
        print(model.tables(constants))
        return
    load = model.Load("yours", options.connections, options.broadcasts, options.members, options.joins)
    print(model.table([model.predict(load, constants, options.machines, options.proxies)]))


if __name__ == "__main__":
    main()
