/** Where a topic's history was read up to; it can be stored as JSON. */
export interface Position {
  epoch: string
  offset: number
}

/** What the first join asks for: the newest broadcasts, what came after a stored position, or positions from now on. */
export type Start = { last: number } | Position | Record<string, never> | null

/** A channel of this client, or of phoenix.js. */
export interface ChannelWithHistory {
  readonly topic: string
  on(event: string, callback: (payload: any) => void): any
  onMessage(event: string, payload: any, ref: any): any
}

export interface HistoryOptions {
  /** What was missed cannot be recovered: reload; broadcasts go on from `position`. */
  onGap?: (position: Position) => void
}

/**
 * A channel's position in its topic's history; rejoins bring what was missed. Make it before `channel.join()`, of a
 * channel whose params are `History.params(…)`.
 */
export class History<C extends ChannelWithHistory = ChannelWithHistory> {
  /** Params for `socket.channel`. The same function given to a later channel on the topic goes on from the position. */
  static params(own?: object | (() => object), start?: Start): () => object
  constructor(channel: C, options?: HistoryOptions)
  /** Null: none is known yet. */
  readonly position: Position | null
  /** As `channel.on`, but the callback never gets a broadcast twice. */
  on(event: string, callback: (payload: any) => void): ReturnType<C["on"]>
  off(event: string, ref: ReturnType<C["on"]>): void
}
