"""Makes the server of a channel for the join that a gateway sends, or the command that refuses the join.

Channels (mesh/worker/channels.py) calls it once for each JOIN. The server runs `join` later, in its turn.
"""

from mesh import contexts
from mesh.app.channel import RemoteChannel
from mesh.app.endpoint import Endpoint
from mesh.app.socket import Socket
from mesh.application_errors import as_exception
from mesh.errors import WireError
from mesh.link import commands
from mesh.protocol import payloads
from mesh.telemetry import get_logger
from mesh.worker.channel.assigns import joined_assigns
from mesh.worker.channel.joining import JOIN_CRASHED
from mesh.worker.channel.server import ChannelServer
from mesh.worker.channel.worker import ServerWorker

log = get_logger(__name__)

NO_ROUTE = {"reason": "unmatched topic"}


def open_channel(
    worker: ServerWorker, endpoint: Endpoint, link: bytes, join: commands.Join
) -> ChannelServer | commands.Refused:
    """Make the channel's server in an execution context of its own.

    Args:
        worker: runs the channel.
        endpoint: has the routes.
        link: on which the join came.
        join: asks for the channel.
    """
    mount = endpoint.mounts.get(join.mount)
    route = mount.routes.find(join.topic) if mount is not None else None
    if route is None or issubclass(route.channel, RemoteChannel):
        return commands.Refused(join.channel, *payloads.encode(NO_ROUTE))
    try:
        assigns = joined_assigns(join, route.assigns)
    except (WireError, TypeError):
        log.error("join with unreadable assigns refused", topic=join.topic)
        return commands.Refused(join.channel, *payloads.encode(NO_ROUTE))
    socket = Socket(join.socket_id, assigns, join.transport, join.serializer)
    context = contexts.fresh()
    try:
        return context.run(ChannelServer, worker, link, join, route.channel, socket, context)
    except BaseException as raised:
        error = as_exception(raised, "callback")
        context.run(log.error, "channel could not be made", topic=join.topic, exc_info=error)
        return commands.Refused(join.channel, *payloads.encode(JOIN_CRASHED))
