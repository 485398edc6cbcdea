"""A program that runs `mesh …` under valgrind, which counts machine instructions when told to.

It runs the code of the current directory.
"""

import os
import sys

OPTIONS = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={os.devnull}"]

if __name__ == "__main__":
    command = "mesh" if os.path.exists("mesh/__main__.py") else "nodes"  # of older checkouts
    os.execvp("valgrind", ["valgrind", *OPTIONS, sys.executable, "-m", command, *sys.argv[1:]])
