export type Payload = object | ArrayBuffer | ArrayBufferView
export type Param = string | number | boolean | null | undefined | Param[] | { [name: string]: Param }
export type Params = Record<string, Param> | (() => Record<string, Param>)
export type JoinParams = object | (() => object)
export type Unsubscribe = () => void

export interface SocketOptions {
  /** Sent with every connection as query parameters; a function is called each time. */
  params?: Params
  /** Sent with every connection apart from the address, which is logged; a function is called each time. */
  authToken?: string | (() => string)
  /** A class like WebSocket; by default the browser's. */
  transport?: new (url: string, protocols?: string[]) => any
  /** Between heartbeats, and for the answer to one. Default 30000. */
  heartbeatIntervalMs?: number
  /** For the reply to a join or a push. Default 10000. */
  timeoutMs?: number
  /** Milliseconds before the n-th try (from 1) to connect again; up to half is added or taken at random. */
  reconnectAfterMs?: (tries: number) => number
  /** Milliseconds before the n-th try (from 1) to join again. */
  rejoinAfterMs?: (tries: number) => number
  /** Instead of JSON and Phoenix's binary frames, e.g. msgpack. */
  encode?: (message: Message) => string | ArrayBuffer | ArrayBufferView
  decode?: (data: any) => Message
  /** Called with "open" and the URL, "push" and "receive" and a message, "close" and the event. */
  logger?: ((kind: "open" | "push" | "receive" | "close", data: any) => void) | null
}

/** One connection, which carries any number of channels and comes back by itself. */
export class Socket {
  /** `endpoint` is the path or URL of the socket's mount, e.g. "/socket". */
  constructor(endpoint: string, options?: SocketOptions)
  /** "connecting" also between two tries; "closed" until `connect` is called. */
  readonly state: "connecting" | "open" | "closed"
  readonly url: string
  connect(): void
  /** Disconnect and stay so until `connect` is called again. */
  disconnect(code?: number, reason?: string): void
  /** Milliseconds to the server and back; rejects when the connection ends, or is not open now. */
  ping(): Promise<number>
  channel(topic: string, params?: JoinParams): Channel
  onOpen(callback: () => void): Unsubscribe
  onClose(callback: (event: { code: number; reason: string }) => void): Unsubscribe
  /** The connection's error events, and frames that cannot be read. */
  onError(callback: (event: any) => void): Unsubscribe
  /** Each message that comes, behind its channel. */
  onMessage(callback: (message: Message) => void): Unsubscribe
}

/** One topic. Made by `socket.channel`. */
export interface Channel {
  readonly topic: string
  readonly state: "closed" | "joining" | "joined" | "errored" | "leaving"
  /**
   * Join and stay joined until `leave`. Resolves with the reply of the first join, or rejects with a ChannelError
   * when that was refused or has not come in time, for want of a connection too; it goes on trying all the same.
   * Set up `on` before: events may follow at once.
   */
  join(timeoutMs?: number): Promise<any>
  on(event: string, callback: (payload: any) => void): Unsubscribe
  /** The reply of each join, of those after a crash or a lost connection too. */
  onJoin(callback: (response: any) => void): Unsubscribe
  /** A join was refused; the channel asks again until `leave`. */
  onRefused(callback: (error: ChannelError) => void): Unsubscribe
  /** Closed for good. */
  onClose(callback: () => void): Unsubscribe
  /** Crashed, or lost its connection; it comes back by itself. */
  onError(callback: (reason: object) => void): Unsubscribe
  /** Send, once joined, and wait for the reply; rejects with a ChannelError for other statuses than ok. */
  push(event: string, payload?: Payload, timeoutMs?: number): Promise<any>
  /** Send, once joined, what gets no reply; throws if the channel was closed. */
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
