/**
 * Channels in Node over plain ZeroMQ: `connect` to a gateway, `channel`, `await join()`, `await push()`.
 *
 * Socket and Channel are those of the browser client (clients/js), over ZeroMQ; zeromqTransport does the same for
 * phoenix.js.
 */
import { ChannelError, Socket as AnySocket } from "./channelmesh.js"
import { History } from "./history.js"
import { Presence } from "./presence.js"
import { ConnectionError, RefusedError, ZeroMQTransport, zeromqTransport } from "./transport.js"

export { ChannelError, ConnectionError, History, Presence, RefusedError, ZeroMQTransport, zeromqTransport }

/** One connection to the gateway at `address`, tcp://HOST:PORT or ipc://PATH; it reconnects automatically. */
export class Socket extends AnySocket {
  constructor(address, options = {}) {
    const { path = "/socket", serverKey, publicKey, secretKey, openTimeoutMs, maxBufferedBytes, maxMessageBytes, ...rest } = options
    if (!String(path).startsWith("/")) throw new TypeError(`path '${path}' does not begin with /; want the path of a socket's mount, e.g. /socket`)
    if (rest.authToken) throw new TypeError("authToken is not supported over ZeroMQ; send the token in params")
    const transport = zeromqTransport({
      address: String(address), serverKey, publicKey, secretKey, openTimeoutMs, maxBufferedBytes, maxMessageBytes,
    })
    super(`zeromq:${path}`, { ...rest, transport })
  }
}

/**
 * Resolve with a Socket that is open. Rejects with a RefusedError if the gateway refuses the client, and with a
 * ConnectionError if no gateway has answered within `timeoutMs` (10 s), during which it keeps trying. Once open, the
 * socket reconnects automatically.
 */
export function connect(address, options = {}) {
  const socket = new Socket(address, options)
  const { timeoutMs = 10_000 } = options
  return new Promise((resolve, reject) => {
    let last = "no answer"
    const settled = (settle, value) => {
      clearTimeout(timer)
      offs.forEach((off) => off())
      settle(value)
    }
    const fail = (error) => {
      socket.disconnect()
      settled(reject, error)
    }
    const late = () => fail(new ConnectionError(`${address}: not connected within ${timeoutMs} ms (timeoutMs): ${last}`))
    const timer = setTimeout(late, timeoutMs)
    const offs = [
      socket.onOpen(() => settled(resolve, socket)),
      socket.onError(({ error, message }) => {
        if (error instanceof RefusedError) fail(error)
        else last = message
      }),
    ]
    try {
      socket.connect()
    } catch (error) {
      fail(error)
    }
  })
}
