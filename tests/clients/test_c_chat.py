"""The example of clients/c and the programs in its documentation chat through a real server, also with a browser."""

import subprocess
from pathlib import Path

import pytest

from tests.support.c_client import BLOCKS, CLIENT, Program, compile_c, output
from tests.support.pool import zeromq
from tests.support.until import PATIENCE

APP = "examples.chat:endpoint"


@pytest.fixture
def chat(c_build):
    """The example."""
    return c_build.program("chat", CLIENT / "chat.c")


@pytest.fixture
def address(servers):
    return zeromq(servers(APP)[0])


def test_programs_on_our_pages_do_what_they_say(c_build, address, tmp_path):
    programs = [each for each in BLOCKS if "int main(" in each]
    assert programs
    for number, block in enumerate(programs):
        source = tmp_path / f"program{number}.c"
        source.write_text(block.replace("tcp://127.0.0.1:4010", address))
        lines = (
            output(compile_c(tmp_path, f"program{number}", source, c_build.library())).decode().splitlines()
        )
        assert lines == ["join: ok {}", "room:lobby new_msg: hello from C", "push: ok {}"]


def test_two_chats_and_what_they_say_of_it(chat, address):
    ana = Program(chat, address, "Ana", "kitchen")
    bo = None
    try:
        ana.wait(lambda line: line == "* joined room:kitchen")
        ana.wait(lambda line: line == "* Ana joined")
        bo = Program(chat, address, 'Bo "B"\x1b[31m', "kitchen")
        bo.wait(lambda line: line == "* Ana is here")
        ana.wait(lambda line: line == '* Bo "B"?[31m joined')
        bo.write('hällo \\ "Ana"\x07')
        ana.wait(lambda line: line == '<Bo "B"?[31m> hällo \\ "Ana"?')
        bo.write("x" * 3000)
        bo.wait(lambda line: line.startswith("! not sent: a message must have 1 to 2000 characters"))
        bo.write("x" * 9000)
        bo.wait(lambda line: line == "! not sent: the line is too long")
        assert bo.end() == 1, "something was not sent"
        ana.wait(lambda line: line == '* Bo "B"?[31m left')
        assert ana.end() == 0, ana.lines
    finally:
        ana.kill()
        if bo is not None:
            bo.kill()


def test_a_chat_of_one_line_sends_it_before_it_ends(chat, address):
    said = output(chat, address, "Ana", input=b"no newline at the end").decode()
    assert "<Ana> no newline at the end\n" in said
    for name, room, words in (
        ("", "lobby", "* no connection: refused\n"),
        ("Ana", "x" * 61, "1 to 60 characters"),
    ):
        done = subprocess.run(
            [chat, address, name, room], input=b"hi\n", capture_output=True, timeout=PATIENCE
        )
        assert done.returncode == 1
        assert words in done.stdout.decode()
    done = subprocess.run([chat, "tcp:/x", "Ana"], capture_output=True, timeout=PATIENCE)
    assert (done.returncode, b"want tcp://HOST:PORT" in done.stdout) == (1, True)


@pytest.mark.usefixtures("browser")
def test_the_example_chats_with_a_page_in_a_browser(chat, servers):
    process, url = servers(APP)
    program = Program(chat, zeromq(process), "Cé", "lobby")
    page = None
    try:
        program.wait(lambda line: line == "* Cé joined")
        page = Program("node", Path(__file__).parent / "browser" / "chat_with_c.mjs", url)
        page.wait(lambda line: line == "sees Cé")
        program.wait(lambda line: line == "* Ana joined")
        program.write("hello from <C>")
        page.wait(lambda line: line == "said hello from <C>")
        program.wait(lambda line: line == "<Ana> hello from the page")
        program.write("bye")
        page.wait(lambda line: line == "said bye")
        program.wait(lambda line: line == "* Ana left")
        assert page.end() == 0, page.lines
        assert program.end() == 0, program.lines
    finally:
        program.kill()
        if page is not None:
            page.kill()
