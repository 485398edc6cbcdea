"""A program that runs `mesh …` under valgrind, which counts machine instructions when told to.

It runs the code of the current directory.
"""

import os
import sys

OPTIONS = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={os.devnull}"]

if __name__ == "__main__":
    os.execvp("valgrind", ["valgrind", *OPTIONS, sys.executable, "-m", "mesh", *sys.argv[1:]])
