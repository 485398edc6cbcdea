"""Chat with the browser page from a terminal: python examples/python_client/chat.py --user Ana

Prints the messages and the users in the room, and sends the lines of stdin.
"""

import argparse
import asyncio
import sys

from mesh.client import Client, ClientChannel, ClientError, PushError


async def chat(address: str, user: str, room: str) -> None:
    """Chat as `user` in `room` until the end of stdin."""
    async with Client(address, params={"user": user, "tab": "terminal"}) as client:
        client.on_close(lambda code, reason: print("* connection lost; reconnecting"))
        client.on_open(lambda: print("* reconnected"))
        channel = await client.join(f"room:{room}")
        presence = channel.presence()
        presence.on_sync(lambda: print("* here:", ", ".join(presence.state)))
        channel.on("new_msg", lambda message: print(f"{message['user']}: {message['body']}"))
        channel.on("typing", lambda message: None)
        await send_lines(channel)


async def send_lines(channel: ClientChannel) -> None:
    """Send the lines of stdin until its end."""
    lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        while line := await lines.readline():
            if body := line.decode(errors="replace").strip():
                await send(channel, body)
    finally:
        transport.close()


async def send(channel: ClientChannel, body: str) -> None:
    """Send one message, and print why if that fails."""
    try:
        await channel.push("new_msg", {"body": body})
    except PushError as error:
        print("* not sent:", error.response.get("reason"))
    except ClientError as error:
        print("* perhaps not sent:", error)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Chat from a terminal.")
    parser.add_argument(
        "address",
        nargs="?",
        default="ws://localhost:4000/socket",
        help="a socket's URL, or a ZeroMQ address: tcp://… or ipc://…",
    )
    parser.add_argument("--user", required=True)
    parser.add_argument("--room", default="lobby")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    try:
        asyncio.run(chat(options.address, options.user, options.room))
    except KeyboardInterrupt:
        pass
    except ClientError as problem:
        sys.exit(f"chat: {problem}")
