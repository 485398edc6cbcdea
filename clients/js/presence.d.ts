import type { Channel } from "./channelmesh.js"

export interface Meta {
  phx_ref: string
  phx_ref_prev?: string
  [field: string]: any
}

export interface OnePresence {
  metas: Meta[]
  [field: string]: any
}

export interface PresenceOptions {
  /** The names of the server's events, if they are not Phoenix's. */
  events?: { state: string; diff: string }
}

/** Who is present on a channel's topic. Make it before `channel.join()`. */
export class Presence {
  constructor(channel: Channel, options?: PresenceOptions)
  readonly state: ReadonlyMap<string, OnePresence>
  list<Chosen = OnePresence>(choose?: (key: string, presence: OnePresence) => Chosen): Chosen[]
  onSync(callback: () => void): void
  onJoin(callback: (key: string, before: OnePresence | undefined, joined: OnePresence) => void): void
  onLeave(callback: (key: string, now: OnePresence, left: OnePresence) => void): void
}
