/**
 * A connection over plain ZeroMQ with the interface of a WebSocket, for phoenix.js's `transport` and our own Socket.
 *
 * Each connection has one DEALER. ZeroMQ must not reconnect it, because a restarted gateway does not know its clients;
 * the user of the transport makes a new one instead. The wire format is in docs/protocol.md §1.2.
 */
import { Dealer, curveKeyPair } from "zeromq"
import { checked, locate } from "./address.js"

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3

const NORMAL = 1000
const PROTOCOL_ERROR = 1002
const LOST = 1006
const INVALID_TEXT = 1007
const TRY_AGAIN_LATER = 1013

const LINGER_MS = 500 // the time for sending what was queued before the close
const NEVER_MS = 2 ** 31 - 1
const KEEPALIVE_SECONDS = 5
const PROBES = 3 // heartbeats in one idle time-out, of which two may be lost or late
const LONGEST_REASON = 123 // bytes, as in a WebSocket's close

/** The gateway has refused this client. `status`: 400, 403, 404, 500 or 503, as docs/protocol.md §1.2 says. */
export class RefusedError extends Error {
  constructor(status, reason) {
    super(`refused: ${status} ${reason}`)
    this.name = "RefusedError"
    this.status = status
    this.reason = reason
  }
}

/** There is no connection, or it has ended. */
export class ConnectionError extends Error {
  constructor(message) {
    super(message)
    this.name = "ConnectionError"
  }
}

/** Return a transport class with these options, for `new Socket(url, { transport: zeromqTransport({ … }) })`. */
export function zeromqTransport(options = {}) {
  const settled = settle(options)
  return class extends ZeroMQTransport {
    constructor(url, protocols) {
      super(url, protocols, settled)
    }
  }
}

/** `new ZeroMQTransport(url)` connects. Events: open, message, error (with `error`), close (code, reason, wasClean). */
export class ZeroMQTransport extends EventTarget {
  static CONNECTING = CONNECTING
  static OPEN = OPEN
  static CLOSING = CLOSING
  static CLOSED = CLOSED

  onopen = null
  onmessage = null
  onerror = null
  onclose = null
  /** Always an ArrayBuffer. */
  binaryType = "arraybuffer"
  /** Bytes that ZeroMQ has not accepted yet. */
  bufferedAmount = 0
  readyState = CONNECTING

  #options
  #dealer
  #queue = []
  #writing = false
  #received = 0
  #heardAt = performance.now()
  #timers = []

  constructor(url, protocols, options = {}) {
    super()
    if (protocols?.length) throw new TypeError("authToken is not supported over ZeroMQ; send the token in params")
    this.#options = settle(options)
    const { address, path, params } = locate(url, this.#options.address)
    this.url = String(url)
    this.address = address
    this.#dealer = new Dealer(this.#dealerOptions())
    for (const type of ["open", "message", "error", "close"]) {
      this.addEventListener(type, (event) => this[`on${type}`]?.(event))
    }
    this.#watch()
    try {
      this.#dealer.connect(address)
    } catch (error) {
      this.#dealer.close() // otherwise it would keep the process alive
      throw new SyntaxError(`cannot connect to '${address}': ${error.message}`, { cause: error })
    }
    this.#push("O", JSON.stringify({ path, params }))
    this.#read()
    const { openTimeoutMs } = this.#options
    const late = () => this.#lost(`${address} has not answered within ${openTimeoutMs} ms (openTimeoutMs)`)
    this.#timers.push(setTimeout(late, openTimeoutMs))
  }

  /** Send text or bytes. Like a WebSocket, it throws before `open` and does nothing after the end. */
  send(data) {
    if (this.readyState === CONNECTING) throw new DOMException("the connection is not open yet", "InvalidStateError")
    if (this.readyState !== OPEN) return
    if (typeof data === "string") this.#push("T", data)
    else if (data instanceof ArrayBuffer) this.#push("B", new Uint8Array(data))
    else if (ArrayBuffer.isView(data)) this.#push("B", new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    else throw new TypeError(`only text or bytes can be sent, not ${Object.prototype.toString.call(data)}`)
  }

  /** Close the connection after everything sent before. The `close` event follows without an answer of the gateway. */
  close(code = NORMAL, reason = "") {
    if (code !== NORMAL && !(code >= 3000 && code <= 4999)) {
      throw new DOMException(`a client may close with the code 1000 or 3000 to 4999, not ${code} (RFC 6455 §7.4)`, "InvalidAccessError")
    }
    if (Buffer.byteLength(reason) > LONGEST_REASON) {
      throw new DOMException(`a close reason may have at most ${LONGEST_REASON} bytes (RFC 6455 §5.5)`, "SyntaxError")
    }
    if (this.readyState >= CLOSING) return
    const wasOpen = this.readyState === OPEN
    this.readyState = CLOSING
    this.#clearTimers()
    this.#push("C", "")
    const done = () =>
      wasOpen ? this.#end(code, reason, null, true) : this.#end(LOST, "", new ConnectionError("closed before it was open"))
    this.#timers.push(setTimeout(done, this.#writing ? LINGER_MS : 0))
    this.#written = done
  }

  #written = null

  #dealerOptions() {
    const { serverKey, publicKey, secretKey, maxMessageBytes } = this.#options
    const pair = serverKey && !publicKey ? curveKeyPair() : { publicKey, secretKey }
    const curve = serverKey && { curveServerKey: serverKey, curvePublicKey: pair.publicKey, curveSecretKey: pair.secretKey }
    return {
      linger: LINGER_MS,
      reconnectInterval: NEVER_MS, // -1 would discard messages that have arrived but were not read when the connection ended
      handshakeInterval: 5000,
      // Not ZeroMQ's heartbeats: with them libzmq 4.3.5 aborts the process when a connection ends while its queue
      // of received messages is full (its issue 4364). TCP finds out whether the gateway is there.
      tcpKeepalive: 1,
      tcpKeepaliveIdle: KEEPALIVE_SECONDS,
      tcpKeepaliveInterval: KEEPALIVE_SECONDS,
      tcpKeepaliveCount: 2,
      tcpMaxRetransmitTimeout: 3000 * KEEPALIVE_SECONDS,
      maxMessageSize: maxMessageBytes,
      ipv6: this.address.includes("["),
      ...curve,
    }
  }

  #watch() {
    const because = (what) => ({ error }) => this.#cut(`${this.address}: ${what}${error ? ` (${error.message})` : ""}`)
    const { events } = this.#dealer
    events.on("connect:retry", because("no connection"))
    events.on("disconnect", because("the connection ended"))
    for (const kind of ["auth", "protocol", "other"]) {
      events.on(`handshake:error:${kind}`, because("the ZeroMQ handshake failed; is serverKey the gateway's key?"))
    }
  }

  /** Handle the loss of the connection, once everything that arrived before has been read. */
  #cut(message) {
    const look = (before) => {
      if (before !== this.#received) setImmediate(look, this.#received)
      else setImmediate(() => (before === this.#received ? this.#lost(message) : look(before)))
    }
    setImmediate(look, this.#received)
  }

  async #read() {
    try {
      while (this.readyState !== CLOSED) this.#message(await this.#dealer.receive())
    } catch (error) {
      this.#lost(`cannot receive: ${error.message}`) // no effect if the socket was closed by us
    }
  }

  #message(frames) {
    this.#received++
    this.#heardAt = performance.now()
    if (this.readyState >= CLOSING) return
    const kind = frames[0].length === 1 ? String(frames[0]) : null
    const handler = frames.length <= 2 && Object.hasOwn(this.#handlers, kind ?? "") ? this.#handlers[kind] : null
    if (!handler) return this.#broken(`a message of ${frames.length} frames that begins with ${JSON.stringify(String(frames[0].subarray(0, 8)))}`)
    handler(frames[1] ?? Buffer.alloc(0))
  }

  #handlers = {
    O: (data) => {
      const seconds = object(data)?.idle_timeout_seconds
      if (this.readyState !== CONNECTING) return this.#broken("O on an open connection")
      if (!(Number.isFinite(seconds) && seconds > 0)) return this.#broken(`O without idle_timeout_seconds: ${excerpt(data)}`)
      this.#opened(seconds * 1000)
    },
    R: (data) => {
      const { status, reason } = object(data) ?? {}
      if (this.readyState !== CONNECTING || !Number.isInteger(status)) return this.#broken(`R, ${excerpt(data)}`)
      const error = new RefusedError(status, String(reason ?? ""))
      this.#end(LOST, error.message, error)
    },
    C: (data) => {
      const { code, reason } = object(data) ?? {}
      if (!Number.isInteger(code)) return this.#broken(`C, ${excerpt(data)}`)
      const error = this.readyState === CONNECTING ? new ConnectionError(`closed before it was open: ${code} ${reason}`) : null
      this.#end(code, String(reason ?? ""), error, true)
    },
    T: (data) => {
      if (this.readyState !== OPEN) return this.#broken("a message before O")
      try {
        this.#dispatch("message", { data: UTF_8.decode(data) })
      } catch {
        this.#fail(INVALID_TEXT, "text that is not UTF-8")
      }
    },
    B: (data) => {
      if (this.readyState !== OPEN) return this.#broken("a message before O")
      this.#dispatch("message", { data: Uint8Array.from(data).buffer })
    },
    P: () => {}, // that it came is enough
  }

  #opened(idleMs) {
    this.#clearTimers()
    this.readyState = OPEN
    const silent = () => performance.now() - this.#heardAt > idleMs
    const giveUp = () => silent() && this.#lost(`${this.address} has been silent for ${idleMs} ms`)
    const probe = () => {
      if (silent()) setImmediate(giveUp) // if it was us who slept, what came meanwhile is read first
      else this.#push("P", "")
    }
    this.#timers.push(setInterval(probe, Math.min(idleMs / PROBES, NEVER_MS)))
    this.#dispatch("open")
  }

  #push(kind, content) {
    const data = Buffer.from(content) // a copy: the caller may change its bytes at once
    this.bufferedAmount += data.length
    const { maxBufferedBytes } = this.#options
    if (this.bufferedAmount > maxBufferedBytes && kind !== "C") {
      const what = `${this.bufferedAmount} bytes wait to be sent, more than ${maxBufferedBytes} (maxBufferedBytes)`
      return this.#fail(TRY_AGAIN_LATER, `${what}; send less, or wait while bufferedAmount is high`)
    }
    this.#queue.push([kind, data])
    if (!this.#writing) this.#write()
  }

  /** Send the queue; the socket accepts one message after another. */
  async #write() {
    this.#writing = true
    try {
      while (this.#queue.length && this.readyState !== CLOSED) {
        const batch = this.#queue
        this.#queue = []
        for (const message of batch) {
          await this.#dealer.send(message)
          this.bufferedAmount -= message[1].length
        }
      }
    } catch (error) {
      this.#lost(`cannot send: ${error.message}`)
    }
    this.#writing = false
    this.#written?.()
  }

  #broken(what) {
    this.#fail(PROTOCOL_ERROR, `the gateway broke the protocol: ${what}`)
  }

  #lost(message) {
    this.#end(LOST, message, new ConnectionError(message))
  }

  /** End the connection, and inform the gateway. */
  #fail(code, message) {
    if (this.readyState === CLOSED) return
    if (!this.#writing) this.#dealer.send(["C", ""]).catch(() => {})
    this.#end(code, message, new ConnectionError(message))
  }

  #end(code, reason, error = null, wasClean = false) {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.#clearTimers()
    this.#queue = []
    this.#dealer.close()
    if (error) this.#dispatch("error", { error, message: error.message })
    this.#dispatch("close", { code, reason, wasClean })
  }

  #clearTimers() {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer)
  }

  #dispatch(type, properties = {}) {
    this.dispatchEvent(Object.assign(new Event(type), properties))
  }
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const DEFAULTS = { openTimeoutMs: 10_000, maxBufferedBytes: 16_000_000, maxMessageBytes: 64_000_000 }
const KEYS = ["serverKey", "publicKey", "secretKey"]
const KNOWN = ["address", ...KEYS, ...Object.keys(DEFAULTS)]

/** Return the options with defaults, checked. Throws a TypeError that names what is wrong. */
function settle(options) {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  for (const name of Object.keys(given)) {
    if (!KNOWN.includes(name)) throw new TypeError(`there is no option '${name}'; want one of ${KNOWN.join(", ")}`)
  }
  for (const name of KEYS.filter((key) => key in given)) {
    if (!/^[0-9a-zA-Z.\-:+=^!/*?&<>()[\]{}@%$#]{40}$/.test(given[name])) {
      throw new TypeError(`${name} must be a CURVE key, 40 characters of Z85`) // not shown, because it may be secret
    }
  }
  if (("publicKey" in given) !== ("secretKey" in given)) throw new TypeError("publicKey and secretKey must be given together")
  if ("publicKey" in given && !("serverKey" in given)) throw new TypeError("publicKey and secretKey need the gateway's key as well: set serverKey")
  for (const name of Object.keys(DEFAULTS).filter((key) => key in given)) {
    const value = given[name]
    if (!(Number.isInteger(value) && value > 0 && value <= NEVER_MS)) {
      throw new TypeError(`${name} must be a whole number from 1 to ${NEVER_MS}, not ${value}`)
    }
  }
  if ("address" in given) checked(given.address)
  return { ...DEFAULTS, ...given }
}

/** Return the object in this JSON; null for anything else. */
function object(data) {
  try {
    const value = JSON.parse(data)
    return typeof value === "object" ? value : null
  } catch {
    return null
  }
}

const excerpt = (data) => JSON.stringify(String(data.subarray(0, 80)))
