/**
 * A small client for Phoenix Channels and Channelmesh: one ES module, no build step.
 *
 * It speaks Phoenix's V2 protocol as phoenix.js does, with promises where phoenix.js has receive hooks.
 * Runs in browsers and, given a WebSocket class or ZeroMQ (clients/node), in Node.
 */

const RECONNECT_MS = [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000]
const REJOIN_MS = [1000, 2000, 5000, 10000]
const STAY_AWAY = 1000 // after a close with this code, the client does not reconnect, like phoenix.js
const TOKEN_PREFIX = "base64url.bearer.phx."

const backOff = (steps) => (tries) => steps[Math.min(tries, steps.length) - 1]

/** A reply with a status other than ok, a time-out, or the end of the channel before the reply. */
export class ChannelError extends Error {
  constructor(topic, status, response = {}) {
    super(`${topic}: ${status} ${JSON.stringify(response)}`)
    this.name = "ChannelError"
    this.topic = topic
    this.status = status
    this.response = response
  }
}

/** Callbacks that can be removed; an exception in one is reported and does not affect the others. */
class Listeners {
  #all = new Set()

  add(callback) {
    const entry = { callback }
    this.#all.add(entry)
    return () => this.#all.delete(entry)
  }

  call(...args) {
    for (const { callback } of [...this.#all]) {
      try {
        callback(...args)
      } catch (error) {
        report(error)
      }
    }
  }
}

/** One connection, which carries any number of channels and reconnects automatically. */
export class Socket {
  #endpoint
  #options
  #websocket = null
  #channels = new Set()
  #ref = 0
  #tries = 0
  #reconnectTimer = null
  #heartbeatTimer = null
  #heartbeatRef = null
  #pings = new Map()
  #wanted = false
  #listeners = { open: new Listeners(), close: new Listeners(), error: new Listeners(), message: new Listeners() }

  constructor(endpoint, options = {}) {
    this.#endpoint = endpoint
    this.#options = {
      params: {},
      transport: globalThis.WebSocket,
      heartbeatIntervalMs: 30000,
      timeoutMs: 10000,
      reconnectAfterMs: backOff(RECONNECT_MS),
      rejoinAfterMs: backOff(REJOIN_MS),
      encode,
      decode,
      logger: null,
      ...options,
    }
    this.#followPage()
  }

  /** "open", "connecting" (also between two attempts), or "closed" until `connect` is called. */
  get state() {
    if (this.#websocket?.readyState === 1) return "open"
    return this.#wanted ? "connecting" : "closed"
  }

  /** The URL that it connects to, including the parameters. */
  get url() {
    const base = new URL(this.#endpoint, globalThis.location?.href)
    base.protocol = base.protocol.replace("http", "ws")
    base.pathname = `${base.pathname.replace(/\/$/, "")}/websocket`
    const params = valueOf(this.#options.params)
    for (const [name, value] of flat({ ...params, vsn: "2.0.0" })) base.searchParams.set(name, value)
    return base.href
  }

  connect() {
    this.#wanted = true
    if (this.#websocket === null) this.#open()
  }

  /** Disconnect, and do not reconnect until `connect` is called again. */
  disconnect(code = 1000, reason = "") {
    this.#wanted = false
    clearTimeout(this.#reconnectTimer)
    this.#giveUp(code, reason)
  }

  /** Measure the round trip to the server, in milliseconds. Rejects if the connection is not open, or ends. */
  ping() {
    if (this.state !== "open") return Promise.reject(new Error("cannot ping: the socket is not connected"))
    const ref = this._nextRef()
    const since = performance.now()
    const pinging = promise()
    pinging.promise.catch(() => {}) // a caller that does not await it need not handle its rejection
    this.#pings.set(ref, { ...pinging, answered: () => pinging.resolve(performance.now() - since) })
    this._send([null, ref, "phoenix", "heartbeat", {}])
    return pinging.promise
  }

  /** Make a channel for `topic`; `params` (or the result of that function) are sent with every join. */
  channel(topic, params = {}) {
    const channel = new Channel(this, topic, params)
    this.#channels.add(channel)
    return channel
  }

  onOpen(callback) {
    return this.#listeners.open.add(callback)
  }

  onClose(callback) {
    return this.#listeners.close.add(callback)
  }

  onError(callback) {
    return this.#listeners.error.add(callback)
  }

  /** Call back with each message received, [join_ref, ref, topic, event, payload], after its channel has handled it. */
  onMessage(callback) {
    return this.#listeners.message.add(callback)
  }

  // For channels.

  get _options() {
    return this.#options
  }

  _nextRef() {
    return String(++this.#ref)
  }

  /** Send now; a message for a connection that is closing is lost. */
  _send(message) {
    if (this.state !== "open") return
    this.#log("push", message)
    this.#websocket.send(this.#options.encode(message))
  }

  _remove(channel) {
    this.#channels.delete(channel)
  }

  #open() {
    clearTimeout(this.#reconnectTimer)
    const websocket = this.#transport()
    this.#websocket = websocket
    websocket.binaryType = "arraybuffer"
    const ifCurrent = (react) => (event) => websocket === this.#websocket && react(event)
    websocket.onopen = ifCurrent(() => this.#opened())
    websocket.onerror = ifCurrent((event) => this.#listeners.error.call(event))
    websocket.onclose = ifCurrent((event) => this.#closed(event))
    websocket.onmessage = ifCurrent(({ data }) => this.#received(data))
  }

  #transport() {
    const { transport, authToken } = this.#options
    if (!authToken) return new transport(this.url)
    // btoa accepts only characters up to U+00FF, which is sufficient for tokens made by the server.
    return new transport(this.url, ["phoenix", TOKEN_PREFIX + btoa(valueOf(authToken)).replace(/=/g, "")])
  }

  /** Reconnect at once when the page becomes visible; close when it is hidden, so that the browser can cache it. */
  #followPage() {
    const { addEventListener: listen, document: page } = globalThis
    if (!listen || !page) return
    const now = () => {
      if (this.#wanted && this.#websocket === null) this.#open()
    }
    page.addEventListener("visibilitychange", () => page.visibilityState === "visible" && now())
    listen("pagehide", () => {
      if (!this.#wanted) return
      this.disconnect()
      listen("pageshow", () => this.connect(), { once: true })
    })
  }

  #log(kind, message) {
    this.#options.logger?.(kind, message)
  }

  #opened() {
    this.#tries = 0
    this.#log("open", this.url)
    for (const channel of this.#channels) channel._socketOpened()
    this.#scheduleHeartbeat()
    this.#listeners.open.call()
  }

  #closed(event) {
    this.#websocket = null
    this.#log("close", event)
    clearTimeout(this.#heartbeatTimer)
    for (const { reject } of this.#pings.values()) reject(new Error("the connection ended before the ping's answer"))
    this.#pings.clear()
    if (event.code === STAY_AWAY) this.#wanted = false
    if (this.#wanted) this.#reconnectLater()
    for (const channel of [...this.#channels]) channel._socketClosed()
    this.#listeners.close.call(event)
  }

  #reconnectLater() {
    const wait = this.#options.reconnectAfterMs(++this.#tries)
    // After a restart of the server, its clients must not all reconnect in the same millisecond.
    this.#reconnectTimer = setTimeout(() => this.#open(), wait * (0.5 + Math.random()))
  }

  /** Close without waiting for the server, which may never answer, so that the next connection can start at once. */
  #giveUp(code, reason) {
    const websocket = this.#websocket
    websocket?.close(code, reason)
    if (websocket && websocket === this.#websocket) this.#closed({ code, reason })
  }

  #received(data) {
    let message
    try {
      message = this.#options.decode(data)
    } catch (error) {
      return this.#listeners.error.call(error)
    }
    this.#log("receive", message)
    const [, ref] = message
    if (ref !== null && ref === this.#heartbeatRef) this.#scheduleHeartbeat()
    for (const channel of [...this.#channels]) channel._received(message)
    this.#listeners.message.call(message)
    this.#pings.get(ref)?.answered()
    this.#pings.delete(ref)
  }

  #scheduleHeartbeat() {
    clearTimeout(this.#heartbeatTimer)
    this.#heartbeatRef = null
    this.#heartbeatTimer = setTimeout(() => this.#beat(), this.#options.heartbeatIntervalMs)
  }

  #beat() {
    this.#heartbeatRef = this._nextRef()
    this._send([null, this.#heartbeatRef, "phoenix", "heartbeat", {}])
    const unanswered = () => this.#giveUp(4000, "heartbeat timeout")
    this.#heartbeatTimer = setTimeout(unanswered, this.#options.heartbeatIntervalMs)
  }
}

/** A channel on one topic, made by `socket.channel(topic, params)`. */
class Channel {
  #socket
  #joinRef = null
  #pending = new Map()
  #buffer = []
  #events = new Map()
  #listeners = { join: new Listeners(), refused: new Listeners(), close: new Listeners(), error: new Listeners() }
  #joinTimeoutMs
  #rejoinTimer = null
  #tries = 0
  #joining = null
  #leaving = null

  constructor(socket, topic, params) {
    this.#socket = socket
    this.topic = topic
    /** As given to `socket.channel`. */
    this.params = params
    /** "closed", "joining", "joined", "errored" or "leaving". */
    this.state = "closed"
  }

  /**
   * Join, and stay joined through crashes and reconnects until `leave`.
   * Resolves with the reply to the first join. Rejects with a ChannelError if the join is refused, or if there is no
   * reply in time, for example without a connection; even then, the channel keeps trying to join.
   * Call `on` before: events may follow the reply at once.
   */
  join(timeoutMs = this.#socket._options.timeoutMs) {
    if (this.#joining) throw new Error(`${this.topic} has already been joined; make another channel`)
    this.#joinTimeoutMs = timeoutMs
    const joining = (this.#joining = promise())
    this.#sendJoin()
    const late = () => joining.reject(new ChannelError(this.topic, "timeout"))
    const timer = setTimeout(late, timeoutMs)
    const settled = () => clearTimeout(timer)
    joining.promise.then(settled, settled) // a caller that does not await the join need not handle its rejection
    return joining.promise
  }

  /** Call back for each `event`; returns a function that removes the callback. */
  on(event, callback) {
    if (!this.#events.has(event)) this.#events.set(event, new Listeners())
    return this.#events.get(event).add(callback)
  }

  /** Replace it to see each event before its callbacks, as in phoenix.js; what it returns is their payload. */
  onMessage(_event, payload, _ref) {
    return payload
  }

  /** Call back with the reply to each successful join, including rejoins after a crash or a lost connection. */
  onJoin(callback) {
    return this.#listeners.join.add(callback)
  }

  /** Call back with a ChannelError when a join was refused; the channel tries again until `leave`. */
  onRefused(callback) {
    return this.#listeners.refused.add(callback)
  }

  /** Call back when the channel is closed for good. */
  onClose(callback) {
    return this.#listeners.close.add(callback)
  }

  /** Call back when the channel has crashed or lost its connection; it rejoins automatically. */
  onError(callback) {
    return this.#listeners.error.add(callback)
  }

  /** Send an event and wait for its reply. Resolves with the response of an ok, otherwise rejects with a ChannelError. */
  async push(event, payload = {}, timeoutMs = this.#socket._options.timeoutMs) {
    const ref = this.#socket._nextRef()
    this.#sendWhenJoined([ref, event, payload])
    const { status, response } = await new Promise((answered) => this.#expect(ref, timeoutMs, answered))
    if (status !== "ok") throw new ChannelError(this.topic, status, response)
    return response
  }

  /** Send an event that gets no reply. */
  cast(event, payload = {}) {
    this.#sendWhenJoined([this.#socket._nextRef(), event, payload])
  }

  /** Leave, and do not rejoin; resolves when the server has confirmed it, or the connection has ended. */
  leave(timeoutMs = this.#socket._options.timeoutMs) {
    this.#leaving ??= this.#leave(timeoutMs)
    return this.#leaving
  }

  // For the socket.

  _socketOpened() {
    if (this.state !== "errored") return
    this.#tries = 0
    this.#sendJoin()
  }

  _socketClosed() {
    clearTimeout(this.#rejoinTimer)
    const was = this.state
    if (was === "joined" || was === "joining") this.state = "errored"
    this.#fail("disconnected")
    if (this.state !== was) this.#listeners.error.call({ reason: "disconnected" })
  }

  _received([joinRef, ref, topic, event, payload]) {
    if (topic !== this.topic) return
    if (joinRef !== null && joinRef !== "" && joinRef !== this.#joinRef) return // of an earlier join
    if (event === "phx_reply") this.#pending.get(ref)?.(payload)
    else if (event === "phx_close") this.#close()
    else if (event === "phx_error") this.#crashed(payload)
    else if (this.state === "joined") this.#dispatch(event, payload, ref)
  }

  #dispatch(event, payload, ref) {
    let handled
    try {
      handled = this.onMessage(event, payload, ref)
    } catch (error) {
      return report(error)
    }
    this.#events.get(event)?.call(handled)
  }

  #sendJoin() {
    if (this.#socket.state !== "open") {
      this.state = "errored" // joined when the socket opens
      return
    }
    const ref = this.#socket._nextRef()
    this.#joinRef = ref
    this.state = "joining"
    this.#expect(ref, this.#joinTimeoutMs, (reply) => this.#joinAnswered(ref, reply))
    this.#socket._send([ref, ref, this.topic, "phx_join", valueOf(this.params)])
  }

  // Called in the same tick in which the reply is read, because the events that follow it may be in the same read.
  #joinAnswered(ref, { status, response }) {
    if (ref !== this.#joinRef || this.state !== "joining") return // left, crashed or disconnected in the meantime
    if (status === "ok") return this.#joined(response)
    if (status === "timeout") {
      // The server may still be handling the join: end this attempt there as well.
      this.#socket._send([ref, this.#socket._nextRef(), this.topic, "phx_leave", {}])
    }
    this.state = "errored"
    const error = new ChannelError(this.topic, status, response)
    this.#joining.reject(error)
    this.#rejoinLater()
    if (status !== "timeout") this.#listeners.refused.call(error)
  }

  #joined(response) {
    this.#tries = 0
    this.state = "joined"
    for (const message of this.#buffer.splice(0)) this.#sendWhenJoined(message)
    this.#joining.resolve(response)
    this.#listeners.join.call(response)
  }

  #crashed(reason) {
    if (this.state !== "joined" && this.state !== "joining") return
    this.state = "errored"
    this.#fail("crashed")
    this.#listeners.error.call(reason)
    this.#rejoinLater()
  }

  #rejoinLater() {
    clearTimeout(this.#rejoinTimer)
    const wait = this.#socket._options.rejoinAfterMs(++this.#tries)
    this.#rejoinTimer = setTimeout(() => {
      if (this.state === "errored") this.#sendJoin()
    }, wait)
  }

  async #leave(timeoutMs) {
    if (this.state === "closed" && this.#joining) return // by the server
    clearTimeout(this.#rejoinTimer)
    this.state = "leaving"
    if (this.#joinRef !== null && this.#socket.state === "open") {
      const ref = this.#socket._nextRef()
      const left = new Promise((answered) => this.#expect(ref, timeoutMs, answered))
      this.#socket._send([this.#joinRef, ref, this.topic, "phx_leave", {}])
      await left
    }
    this.#close()
  }

  #close() {
    if (this.state === "closed") return
    clearTimeout(this.#rejoinTimer)
    this.state = "closed"
    this.#buffer = []
    this.#fail("closed")
    this.#joining?.reject(new ChannelError(this.topic, "closed"))
    this.#socket._remove(this)
    this.#listeners.close.call()
  }

  #sendWhenJoined([ref, event, payload]) {
    const message = [this.#joinRef, ref, this.topic, event, payload]
    if (this.state === "joined") return this.#socket._send(message)
    if (this.#joining === null) throw new Error(`join ${this.topic} before pushing to it`)
    if (this.state === "closed" || this.state === "leaving") throw new ChannelError(this.topic, "closed")
    this.#socket._options.encode(message) // throws to the caller if the message cannot be encoded
    this.#buffer.push([ref, event, payload])
  }

  /** Call `settle` with the reply to `ref`, or with the reason why there is none. */
  #expect(ref, timeoutMs, settle) {
    const answered = (reply) => {
      clearTimeout(timer)
      this.#pending.delete(ref)
      this.#buffer = this.#buffer.filter(([waiting]) => waiting !== ref)
      settle(reply)
    }
    const timer = setTimeout(answered, timeoutMs, { status: "timeout", response: {} })
    this.#pending.set(ref, answered)
  }

  /** Settle the pushes that were sent, which can get no reply any more; buffered ones are sent after the rejoin. */
  #fail(status) {
    const buffered = new Set(this.#buffer.map(([ref]) => ref))
    const sent = [...this.#pending].filter(([ref]) => !buffered.has(ref))
    for (const [, answered] of sent) answered({ status, response: {} })
  }
}

// The wire format: text frames are JSON, binary frames carry binary payloads.

const PUSH = 0
const REPLY = 1
const BROADCAST = 2
const FIELD_BYTES = 255

/** A message as a WebSocket sends it: text, or an ArrayBuffer if the payload is binary. */
export function encode([joinRef, ref, topic, event, payload]) {
  const data = binary(payload)
  if (data === null) return JSON.stringify([joinRef, ref, topic, event, payload])
  const fields = [joinRef ?? "", ref ?? "", topic, event].map((field) => new TextEncoder().encode(field))
  const long = fields.find((field) => field.length > FIELD_BYTES)
  if (long) throw new RangeError(`a field of ${long.length} bytes; with a binary payload, at most ${FIELD_BYTES} can be sent`)
  const parts = [Uint8Array.of(PUSH, ...fields.map((field) => field.length)), ...fields, data]
  const frame = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    frame.set(part, offset)
    offset += part.length
  }
  return frame.buffer
}

/** Decode a received text or ArrayBuffer into [join_ref, ref, topic, event, payload]. */
export function decode(data) {
  return typeof data === "string" ? JSON.parse(data) : decodeBinary(new Uint8Array(data))
}

function decodeBinary(bytes) {
  const kind = bytes[0]
  const count = { [PUSH]: 3, [REPLY]: 4, [BROADCAST]: 2 }[kind]
  if (count === undefined) throw new RangeError(`a binary frame of kind ${kind}; want 0, 1 or 2`)
  let offset = 1 + count
  const fields = Array.from({ length: count }, (_, index) => {
    const field = bytes.subarray(offset, (offset += bytes[1 + index]))
    return new TextDecoder().decode(field)
  })
  const data = bytes.slice(offset).buffer
  if (kind === PUSH) return [fields[0], null, fields[1], fields[2], data]
  if (kind === BROADCAST) return [null, null, fields[0], fields[1], data]
  return [fields[0], fields[1], fields[2], "phx_reply", { status: fields[3], response: data }]
}

function binary(payload) {
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload)
  if (ArrayBuffer.isView(payload)) return new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength)
  return null
}

/** Flatten parameters for a query string: `{ a: { b: 1 } }` becomes `a[b]=1`, as in phoenix.js. */
function* flat(params, parent) {
  for (const [key, value] of Object.entries(params)) {
    const name = parent === undefined ? key : `${parent}[${key}]`
    if (value !== null && typeof value === "object") yield* flat(value, name)
    else if (value !== null && value !== undefined) yield [name, value]
  }
}

const valueOf = (value) => (typeof value === "function" ? value() : value)

/** Report an error as if an event handler had thrown it. */
function report(error) {
  if (globalThis.reportError) return globalThis.reportError(error)
  setTimeout(() => { throw error })
}

function promise() {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}
