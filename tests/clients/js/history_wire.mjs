// The connection of history.test.mjs: what a server with a history says, byte for byte.
export const EPOCH = "k3v9a0b1c2d3"
export const OTHER = "z9y8x7w6v5u4"

/** A connection that the test holds. */
export class Wire {
  static all = []
  readyState = 0
  bufferedAmount = 0
  sent = []

  constructor() {
    Wire.all.push(this)
  }

  send(data) {
    this.sent.push(JSON.parse(data))
  }

  close(code) {
    this.cut(code)
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  cut(code = 1006) {
    if (this.readyState === 3) return
    this.readyState = 3
    this.onclose({ code })
  }

  /** A message, byte for byte. */
  text(message) {
    this.onmessage({ data: message })
  }

  /** Phoenix's binary broadcast: 2, the sizes, the topic, the event, the data. */
  binary(event, ...data) {
    const head = Buffer.from(`room:1${event}`)
    this.onmessage({ data: Uint8Array.from([2, 6, event.length, ...head, ...data]).buffer })
  }

  acceptAll() {
    if (this.readyState !== 1) return
    for (const [joinRef, ref, topic] of this.sent)
      this.text(JSON.stringify([joinRef, ref, topic, "phx_reply", { status: "ok", response: {} }]))
  }

  joins() {
    return this.sent.filter(([, , , event]) => event === "phx_join")
  }

  /** Answer the last join as the server does, and say what it has in its history; returns what the join asked for. */
  answer({ offset, recovered = true, count = 0, epoch = EPOCH }) {
    const [joinRef, , , , payload] = this.joins().at(-1)
    this.text(`["${joinRef}","${joinRef}","room:1","phx_reply",{"status":"ok","response":{}}]`)
    this.text(
      `["${joinRef}",null,"room:1","history_state",` +
        `{"epoch":"${epoch}","offset":${offset},"recovered":${recovered},"count":${count}}]`,
    )
    return payload
  }

  broadcast(offset, epoch = EPOCH) {
    this.text(`[null,"${epoch}:${offset}","room:1","new_msg",{"n":${offset}}]`)
  }

  announce(offset, event) {
    this.text(`[null,null,"room:1","history_position",{"epoch":"${EPOCH}","offset":${offset},"event":"${event}"}]`)
  }
}
