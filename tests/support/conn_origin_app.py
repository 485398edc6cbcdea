"""A socket that only pages of the request's own host may open."""

from mesh import Channel, Endpoint, SocketHandler


class UserSocket(SocketHandler):
    channels = {"room:*": Channel}


endpoint = Endpoint(sockets={"/socket": UserSocket}, check_origin="conn")
