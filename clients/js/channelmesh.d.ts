export type Payload = object | ArrayBuffer | ArrayBufferView
export type Params = Record<string, string | number | boolean> | (() => Record<string, string | number | boolean>)
export type JoinParams = object | (() => object)
export type Unsubscribe = () => void

export interface SocketOptions {
  /** Sent with every connection as query parameters; a function is called each time. */
  params?: Params
  /** A WebSocket class; by default the browser's. */
  transport?: new (url: string) => any
  /** Between heartbeats, and for the answer to one. Default 30000. */
  heartbeatIntervalMs?: number
  /** For the reply to a join or a push. Default 10000. */
  timeoutMs?: number
  /** Milliseconds before the n-th try (from 1) to connect again; up to half is added or taken at random. */
  reconnectAfterMs?: (tries: number) => number
  /** Milliseconds before the n-th try (from 1) to join again. */
  rejoinAfterMs?: (tries: number) => number
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
  disconnect(): void
  channel(topic: string, params?: JoinParams): Channel
  onOpen(callback: () => void): Unsubscribe
  onClose(callback: (event: { code: number; reason: string }) => void): Unsubscribe
  /** The connection's error events, and frames that cannot be read. */
  onError(callback: (event: unknown) => void): Unsubscribe
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
  join(): Promise<any>
  on(event: string, callback: (payload: any) => void): Unsubscribe
  onClose(callback: () => void): Unsubscribe
  onError(callback: (reason: object) => void): Unsubscribe
  /** Send, once joined, and wait for the reply; rejects with a ChannelError for other statuses than ok. */
  push(event: string, payload?: Payload, timeoutMs?: number): Promise<any>
  /** Send, once joined, what gets no reply; throws if the channel was closed. */
  cast(event: string, payload?: Payload): void
  leave(): Promise<void>
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
