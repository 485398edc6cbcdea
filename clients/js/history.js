/**
 * Keeps a channel's position in the history of its topic, so that a rejoin brings exactly what was missed.
 *
 * For channels of this client and of phoenix.js 1.6 to 1.8; the server is Channelmesh, the channel has a history.
 */

const POSITION = /^([a-z][a-z0-9]*):(\d+)$/ // the ref of a kept broadcast; a client's own refs are numbers
const CONTROL = /^(phx_|chan_reply_)/ // replies, crashes and closes have no position

const states = new WeakMap() // by the function that `History.params` returned

/** Make it before `channel.join()`, of a channel whose params are `History.params(…)`. */
export class History {
  #channel
  #state
  #onGap

  /**
   * Params for `socket.channel`: your own, an object or a function, and for each join what it asks the history for.
   * `start` is what the first join asks for: `{ last: n }`, a stored position, or nothing for positions from now on.
   * A later channel on the same topic goes on from the position if it is given the same function.
   */
  static params(own = {}, start = null) {
    const state = { topic: null, position: null, sent: null, answered: false, announced: null, double: false }
    if (start && "epoch" in start) state.position = { epoch: start.epoch, offset: start.offset }
    const params = () => {
      const values = typeof own === "function" ? own() : own
      Object.assign(state, { sent: state.position, answered: false, announced: null })
      return { ...values, history: state.position ?? start ?? {} }
    }
    states.set(params, state)
    return params
  }

  /** `onGap(position)` is called when what was missed cannot be recovered: reload, broadcasts go on from `position`. */
  constructor(channel, { onGap = () => {} } = {}) {
    this.#channel = channel
    this.#state = states.get(channel.params)
    this.#onGap = onGap
    if (!this.#state) throw new Error(`make ${channel.topic} with socket.channel(topic, History.params(params))`)
    this.#state.topic ??= channel.topic
    if (this.#state.topic !== channel.topic)
      throw new Error(`the params of ${channel.topic} are those of ${this.#state.topic}; call History.params for each topic`)
    const hook = channel.onMessage
    channel.onMessage = (event, payload, ...refs) => {
      this.#received(event, payload, refs[0])
      return hook.call(channel, event, payload, ...refs)
    }
  }

  /** { epoch, offset } of the last broadcast received, to be stored or shown, or null: none is known yet. */
  get position() {
    return this.#state.position
  }

  /** As `channel.on`, but the callback never gets a broadcast twice. */
  on(event, callback) {
    return this.#channel.on(event, (...args) => {
      if (!this.#state.double) callback(...args)
    })
  }

  /** Remove the callback for which `on` returned `ref`. */
  off(event, ref) {
    if (typeof ref === "function") ref()
    else this.#channel.off(event, ref)
  }

  #received(event, payload, ref) {
    if (CONTROL.test(event)) return
    const { announced } = this.#state
    this.#state.announced = null
    this.#state.double = false
    if (event === "history_state") return this.#joined(payload)
    if (event === "history_position") {
      if (payload.event === undefined) return this.#move(payload) // of our own broadcast_from
      this.#state.announced = payload // of the binary broadcast that follows; it counts when that has arrived
      return
    }
    const [, epoch, offset] = POSITION.exec(ref) ?? []
    if (epoch) this.#move({ epoch, offset: Number(offset) })
    else if (announced?.event === event) this.#move(announced)
  }

  // Until the answer to the last join, there may be broadcasts of an earlier one: they come again with the answer.
  #move({ epoch, offset }) {
    const { answered, position } = this.#state
    this.#state.double = !answered || (position?.epoch === epoch && offset <= position.offset)
    if (!this.#state.double) this.#state.position = { epoch, offset }
  }

  #joined({ epoch, offset, recovered, count }) {
    this.#state.answered = true
    if (recovered && count > 0) return // the missed broadcasts move the position, so that after another cut none is lost
    this.#state.position = { epoch, offset }
    if (!recovered && this.#state.sent) this.#onGap(this.#state.position)
  }
}
