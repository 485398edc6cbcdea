export type Payload = object | ArrayBuffer | ArrayBufferView
export type Param = string | number | boolean | null | undefined | Param[] | { [name: string]: Param }
export type Params = Record<string, Param> | (() => Record<string, Param>)
export type JoinParams = object | (() => object)
export type Unsubscribe = () => void

export interface SocketOptions {
  /** Sent with every connection as query parameters; a function is called each time. */
  params?: Params
  /** Sent with every connection, but not in the URL, which may be logged; a function is called each time. */
  authToken?: string | (() => string)
  /** A class like WebSocket; by default the browser's. */
  transport?: new (url: string, protocols?: string[]) => any
  /** The time between heartbeats, and the time-out of the reply to one. Default 30000. */
  heartbeatIntervalMs?: number
  /** The time-out of the reply to a join or a push. Default 10000. */
  timeoutMs?: number
  /** Milliseconds before the n-th attempt (from 1) to reconnect; varied at random by up to half. */
  reconnectAfterMs?: (tries: number) => number
  /** Milliseconds before the n-th attempt (from 1) to rejoin. */
  rejoinAfterMs?: (tries: number) => number
  /** Replaces JSON and Phoenix's binary frames, e.g. with msgpack. */
  encode?: (message: Message) => string | ArrayBuffer | ArrayBufferView
  decode?: (data: any) => Message
  /** Called with "open" and the URL, "push" and "receive" and a message, "close" and the event. */
  logger?: ((kind: "open" | "push" | "receive" | "close", data: any) => void) | null
}

/** One connection, which carries any number of channels and reconnects automatically. */
export class Socket {
  /** `endpoint` is the path or URL of the socket's mount, e.g. "/socket". */
  constructor(endpoint: string, options?: SocketOptions)
  /** "connecting" also between two attempts; "closed" until `connect` is called. */
  readonly state: "connecting" | "open" | "closed"
  readonly url: string
  connect(): void
  /** Disconnect, and do not reconnect until `connect` is called again. */
  disconnect(code?: number, reason?: string): void
  /** Measure the round trip to the server, in milliseconds. Rejects if the connection is not open, or ends. */
  ping(): Promise<number>
  channel(topic: string, params?: JoinParams): Channel
  onOpen(callback: () => void): Unsubscribe
  onClose(callback: (event: { code: number; reason: string }) => void): Unsubscribe
  /** The connection's error events, and errors of frames that cannot be decoded. */
  onError(callback: (event: any) => void): Unsubscribe
  /** Each message received, after its channel has handled it. */
  onMessage(callback: (message: Message) => void): Unsubscribe
}

/** A channel on one topic, made by `socket.channel`. */
export interface Channel {
  readonly topic: string
  /** As given to `socket.channel`. */
  readonly params: JoinParams
  readonly state: "closed" | "joining" | "joined" | "errored" | "leaving"
  /**
   * Join, and stay joined until `leave`. Resolves with the reply to the first join. Rejects with a ChannelError if the
   * join is refused, or if there is no reply in time, for example without a connection; even then, the channel keeps
   * trying to join. Call `on` before: events may follow the reply at once.
   */
  join(timeoutMs?: number): Promise<any>
  on(event: string, callback: (payload: any) => void): Unsubscribe
  /** Replace it to see each event before its callbacks, as in phoenix.js; what it returns is their payload. */
  onMessage(event: string, payload: any, ref: string | null): any
  /** The reply to each successful join, including rejoins after a crash or a lost connection. */
  onJoin(callback: (response: any) => void): Unsubscribe
  /** A join was refused; the channel tries again until `leave`. */
  onRefused(callback: (error: ChannelError) => void): Unsubscribe
  /** The channel is closed for good. */
  onClose(callback: () => void): Unsubscribe
  /** The channel has crashed or lost its connection; it rejoins automatically. */
  onError(callback: (reason: object) => void): Unsubscribe
  /** Send an event, once joined, and wait for its reply; rejects with a ChannelError for any status but ok. */
  push(event: string, payload?: Payload, timeoutMs?: number): Promise<any>
  /** Send an event that gets no reply, once joined; throws if the channel is closed. */
  cast(event: string, payload?: Payload): void
  leave(timeoutMs?: number): Promise<void>
}

/** `status` is the reply's, or "timeout", "disconnected", "crashed", "closed". */
export class ChannelError extends Error {
  constructor(topic: string, status: string, response?: unknown)
  readonly topic: string
  readonly status: string
  readonly response: any
}

export type Message = [joinRef: string | null, ref: string | null, topic: string, event: string, payload: any]
export function encode(message: Message): string | ArrayBuffer
export function decode(data: string | ArrayBuffer): Message
