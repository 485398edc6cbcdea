"""A program that runs a module, the `mesh` command, under valgrind and counts instructions on request.

It runs the code of the current directory.
"""

import os
import sys

OPTIONS = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={os.devnull}"]

if __name__ == "__main__":
    os.execvp("valgrind", ["valgrind", *OPTIONS, sys.executable, "-m", *sys.argv[1:]])
