import { Socket as AnySocket, SocketOptions as AnySocketOptions } from "./channelmesh.js"

export { ChannelError } from "./channelmesh.js"
export type { Channel, JoinParams, Message, Params, Payload, Unsubscribe } from "./channelmesh.js"
export { History } from "./history.js"
export type { ChannelWithHistory, HistoryOptions, Position, Start } from "./history.js"
export { Presence } from "./presence.js"
export type { Meta, OnePresence, PresenceOptions } from "./presence.js"

/** CURVE keys are 40 characters of Z85. */
export interface ConnectionOptions {
  /** The gateway's public key; without it the connection is not encrypted. */
  serverKey?: string
  /** The client's own keys; a fresh pair for each connection by default. */
  publicKey?: string
  secretKey?: string
  /** The time-out of the gateway's answer when the connection is opened. Default 10000. */
  openTimeoutMs?: number
  /** The limit of bytes that ZeroMQ has not accepted; above it the connection is closed with 1013. Default 16000000. */
  maxBufferedBytes?: number
  /** The limit of one message from the gateway; a longer one ends the connection. Default 64000000. */
  maxMessageBytes?: number
}

export interface TransportOptions extends ConnectionOptions {
  /** The gateway's address, instead of the URL's: tcp://HOST:PORT or ipc://PATH. The URL is then zeromq:/MOUNT. */
  address?: string
}

export interface SocketOptions extends Omit<AnySocketOptions, "transport" | "authToken">, ConnectionOptions {
  /** The path of the socket's mount. Default "/socket". */
  path?: string
}

/** One connection to the gateway at `address`, tcp://HOST:PORT or ipc://PATH; it reconnects automatically. */
export class Socket extends AnySocket {
  constructor(address: string, options?: SocketOptions)
  onError(callback: (event: TransportError | Error) => void): () => void
}

/**
 * Resolve with a Socket that is open. Rejects with a RefusedError if the gateway refuses the client, and with a
 * ConnectionError if no gateway has answered within `timeoutMs` (10 s). Once open, it reconnects automatically.
 */
export function connect(address: string, options?: SocketOptions): Promise<Socket>

/** Return a transport class with these options: `new Socket(url, { transport: zeromqTransport({ … }) })`. */
export function zeromqTransport(options?: TransportOptions): new (url: string, protocols?: string[]) => ZeroMQTransport

export interface TransportError extends Event {
  readonly error: RefusedError | ConnectionError
  readonly message: string
}

export interface TransportClose extends Event {
  readonly code: number
  readonly reason: string
  readonly wasClean: boolean
}

/** A connection with the interface of a WebSocket. URL: tcp://HOST:PORT/MOUNT?…, ipc://PATH:/MOUNT?…, or zeromq:/MOUNT?…. */
export class ZeroMQTransport extends EventTarget {
  static readonly CONNECTING: 0
  static readonly OPEN: 1
  static readonly CLOSING: 2
  static readonly CLOSED: 3
  constructor(url: string, protocols?: string[], options?: TransportOptions)
  readonly url: string
  readonly address: string
  readonly readyState: 0 | 1 | 2 | 3
  readonly bufferedAmount: number
  binaryType: string
  onopen: ((event: Event) => void) | null
  onmessage: ((event: MessageEvent) => void) | null
  onerror: ((event: TransportError) => void) | null
  onclose: ((event: TransportClose) => void) | null
  send(data: string | ArrayBuffer | ArrayBufferView): void
  close(code?: number, reason?: string): void
}

/** The gateway has refused this client. */
export class RefusedError extends Error {
  constructor(status: number, reason: string)
  /** 400, 403, 404, 500 or 503. */
  readonly status: number
  readonly reason: string
}

/** There is no connection, or it has ended. */
export class ConnectionError extends Error {
  constructor(message: string)
}
