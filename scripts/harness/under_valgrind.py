"""Runs `mesh …` under valgrind, which counts machine instructions once it is told to; a program of its own.

The code is that of the directory it is started in.
"""

import os
import sys

OPTIONS = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={os.devnull}"]

if __name__ == "__main__":
    os.execvp("valgrind", ["valgrind", *OPTIONS, sys.executable, "-m", "nodes", *sys.argv[1:]])
