/**
 * Tracks the presences of a channel's topic from the server's `presence_state` and `presence_diff`.
 *
 * It works like phoenix.js's Presence, with a Map for the state, so that any string may be a key.
 */

/** Make it before `channel.join()`: the server's first diff may arrive with the reply. */
export class Presence {
  #state = new Map()
  #pending = []
  #synced = false
  #on = { sync: () => {}, join: () => {}, leave: () => {} }

  constructor(channel, { events = { state: "presence_state", diff: "presence_diff" } } = {}) {
    channel.on(events.state, (state) => this.#replace(new Map(Object.entries(state))))
    channel.on(events.diff, (diff) => this.#diff(diff))
    channel.onError(() => {
      this.#synced = false // diffs wait until the state arrives after the rejoin
      this.#pending = [] // that state is newer than the diffs that waited for the earlier one
    })
  }

  /** For each key, { metas: [...] } and whatever the server's `fetch` added. */
  get state() {
    return this.#state
  }

  /** Return the results of `choose` for each key and its presence, the oldest first. */
  list(choose = (_key, presence) => presence) {
    return [...this.#state].map(([key, presence]) => choose(key, presence))
  }

  /** Call back after each change; a later call replaces the callback, as for the other two. */
  onSync(callback) {
    this.#on.sync = callback
  }

  /** Call back with (key, previous presence or undefined, new presence) when metas are added. */
  onJoin(callback) {
    this.#on.join = callback
  }

  /** Call back with (key, current presence, which may have no metas, left presence) when metas are removed. */
  onLeave(callback) {
    this.#on.leave = callback
  }

  #replace(state) {
    const joins = new Map()
    const leaves = new Map()
    for (const [key, presence] of state) {
      const metas = without(presence.metas, this.#state.get(key)?.metas)
      if (metas.length) joins.set(key, { ...presence, metas })
    }
    for (const [key, presence] of this.#state) {
      const metas = without(presence.metas, state.get(key)?.metas)
      if (metas.length) leaves.set(key, { ...presence, metas })
    }
    this.#merge(joins, leaves)
    this.#synced = true
    for (const diff of this.#pending.splice(0)) this.#apply(diff)
    this.#on.sync()
  }

  #diff(diff) {
    if (!this.#synced) return this.#pending.push(diff)
    this.#apply(diff)
    this.#on.sync()
  }

  #apply({ joins = {}, leaves = {} }) {
    this.#merge(new Map(Object.entries(joins)), new Map(Object.entries(leaves)))
  }

  // Joins before leaves: an update consists of both, and must not remove the key in between.
  #merge(joins, leaves) {
    for (const [key, joined] of joins) {
      const before = this.#state.get(key)
      const metas = [...without(before?.metas ?? [], joined.metas), ...joined.metas]
      this.#state.set(key, { ...joined, metas })
      this.#on.join(key, before, joined)
    }
    for (const [key, left] of leaves) {
      const before = this.#state.get(key)
      if (!before) continue
      const now = { ...before, metas: without(before.metas, left.metas) }
      if (now.metas.length) this.#state.set(key, now)
      else this.#state.delete(key)
      this.#on.leave(key, now, left)
    }
  }
}

/** A meta is identified by its phx_ref alone. */
function without(metas, others = []) {
  const refs = new Set(others.map(({ phx_ref }) => phx_ref))
  return metas.filter(({ phx_ref }) => !refs.has(phx_ref))
}
