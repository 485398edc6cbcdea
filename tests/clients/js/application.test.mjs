// clients/js: what phoenix.js offers an application beside joins and pushes. The WebSocket and the page are the test's.
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import { Socket, encode } from "../../../clients/js/channelmesh.js"

class Wire {
  static all = []

  constructor(...args) {
    this.args = args
    this.url = args[0]
    this.readyState = 0
    this.sent = []
    this.closed = []
    Wire.all.push(this)
  }

  send(data) {
    this.sent.push(data)
  }

  close(...args) {
    this.closed.push(args)
    this.end(args[0])
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  end(code) {
    this.readyState = 3
    this.onclose({ code })
  }

  say(...message) {
    this.onmessage({ data: JSON.stringify(message) })
  }

  last(event) {
    return this.sent.map((each) => JSON.parse(each)).findLast((message) => message[3] === event)
  }

  answer(event, status = "ok", response = {}) {
    const [joinRef, ref, topic] = this.last(event)
    this.say(joinRef, ref, topic, "phx_reply", { status, response })
    return joinRef
  }
}

const sockets = []
afterEach(() => sockets.splice(0).forEach((socket) => socket.disconnect()))

function connected(options = {}) {
  Wire.all = []
  const socket = new Socket("ws://host/socket", { transport: Wire, reconnectAfterMs: () => 0, ...options })
  sockets.push(socket)
  socket.connect()
  Wire.all[0].open()
  return [socket, Wire.all[0]]
}

const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

test("nested parameters are written as phoenix.js writes them", () => {
  const [socket] = connected({ params: { a: { b: [1, { c: "ü&" }] }, no: null, none: undefined, yes: true, __proto__: null } })
  const pairs = [...new URL(socket.url).searchParams]
  assert.deepEqual(pairs, [["a[b][0]", "1"], ["a[b][1][c]", "ü&"], ["yes", "true"], ["vsn", "2.0.0"]])
})

test("an auth token travels as a sub-protocol, asked for with every connection", async () => {
  let n = 0
  const [, wire] = connected({ authToken: () => `token ${++n}` })
  assert.deepEqual(wire.args[1], ["phoenix", "base64url.bearer.phx.dG9rZW4gMQ"])
  wire.end(1006)
  await after(5)
  assert.deepEqual(Wire.all[1].args[1], ["phoenix", "base64url.bearer.phx.dG9rZW4gMg"])
  const [, without] = connected()
  assert.equal(without.args.length, 1)
})

test("messages may be encoded otherwise", () => {
  const options = { encode: (message) => `!${encode(message)}`, decode: (data) => JSON.parse(data.slice(1)) }
  const [socket, wire] = connected(options)
  const channel = socket.channel("room:1")
  channel.join()
  const [ref] = JSON.parse(wire.sent[0].slice(1))
  wire.onmessage({ data: `!${JSON.stringify([ref, ref, "room:1", "phx_reply", { status: "ok", response: {} }])}` })
  assert.equal(channel.state, "joined")
})

test("a ping tells how long it took, and fails with its connection", async () => {
  const [socket, wire] = connected()
  const pinging = socket.ping()
  const [, ref, topic, event] = wire.last("heartbeat")
  assert.deepEqual([topic, event], ["phoenix", "heartbeat"])
  wire.say(null, ref, "phoenix", "phx_reply", { status: "ok", response: {} })
  const ms = await pinging
  assert.ok(ms >= 0 && ms < 5000)
  const lost = socket.ping()
  wire.end(1006)
  await assert.rejects(lost, /connection ended/)
  await assert.rejects(socket.ping(), /not connected/)
  socket.connect()
})

test("a ping that nobody waits for is no unhandled rejection", async () => {
  const [socket, wire] = connected()
  socket.ping()
  wire.end(1006)
  await after(5) // node:test fails a test that leaves an unhandled rejection
})

test("onMessage sees each message behind its channel; a logger sees both directions", () => {
  const logged = []
  const [socket, wire] = connected({ logger: (kind, what) => logged.push([kind, what]) })
  const seen = []
  const channel = socket.channel("room:1")
  channel.on("e", () => seen.push("channel"))
  const off = socket.onMessage(([, , topic, event]) => seen.push(`${topic} ${event}`))
  channel.join()
  const joinRef = wire.answer("phx_join")
  wire.say(joinRef, null, "room:1", "e", {})
  off()
  wire.say(null, null, "room:2", "e", {})
  assert.deepEqual(seen, ["room:1 phx_reply", "channel", "room:1 e"])
  wire.end(1006)
  assert.deepEqual(logged.map(([kind]) => kind), ["open", "push", "receive", "receive", "receive", "close"])
  assert.equal(logged[0][1], socket.url)
  assert.equal(logged[1][1][3], "phx_join")
  assert.equal(logged[5][1].code, 1006)
})

test("onJoin is told of each join, onRefused of each refusal", async () => {
  const [socket, wire] = connected({ rejoinAfterMs: () => 0 })
  const channel = socket.channel("room:1")
  const told = []
  channel.onJoin((response) => told.push(response))
  channel.onRefused((error) => told.push([error.status, error.response]))
  channel.onError(() => told.push("error"))
  channel.join().catch(() => {})
  wire.answer("phx_join", "error", { reason: "full" })
  await after(5)
  wire.answer("phx_join", "ok", { n: 1 })
  wire.end(1006)
  await after(5)
  Wire.all[1].open()
  Wire.all[1].answer("phx_join", "error", { reason: "banned" })
  await after(5)
  Wire.all[1].answer("phx_join", "ok", { n: 2 })
  assert.deepEqual(told, [["error", { reason: "full" }], { n: 1 }, "error", ["error", { reason: "banned" }], { n: 2 }])
})

test("a channel may be left in onRefused, and does not ask again", async () => {
  const [socket, wire] = connected({ rejoinAfterMs: () => 0 })
  const channel = socket.channel("room:1")
  channel.onRefused(() => channel.leave())
  channel.join().catch(() => {})
  wire.answer("phx_join", "error")
  wire.answer("phx_leave")
  await after(10)
  assert.deepEqual(wire.sent.map((each) => JSON.parse(each)[3]), ["phx_join", "phx_leave"])
  assert.equal(channel.state, "closed")
})

test("a join and a leave may have time-outs of their own", async () => {
  const [socket, wire] = connected({ rejoinAfterMs: () => 1e6 })
  const channel = socket.channel("room:1")
  await assert.rejects(channel.join(1), { status: "timeout" })
  await after(2)
  assert.deepEqual(wire.sent.map((each) => JSON.parse(each)[3]), ["phx_join", "phx_leave"])
  await channel.leave(1)
  assert.equal(channel.state, "closed")
})

test("disconnect may say why", () => {
  const [socket, wire] = connected()
  const codes = []
  socket.onClose(({ code }) => codes.push(code))
  socket.disconnect(4001, "logged out")
  assert.deepEqual([wire.closed, codes], [[[4001, "logged out"]], [4001]])
})

/** A window whose events the test makes. */
function page(t) {
  const window = new EventTarget()
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" })
  Object.assign(globalThis, { document, addEventListener: window.addEventListener.bind(window) })
  t.after(() => {
    delete globalThis.document
    delete globalThis.addEventListener
  })
  return { window, document }
}

test("a page that is shown again connects at once", (t) => {
  const { document } = page(t)
  const [, wire] = connected({ reconnectAfterMs: () => 1e6 })
  const shown = (state) => {
    document.visibilityState = state
    document.dispatchEvent(new Event("visibilitychange"))
  }
  shown("visible")
  assert.equal(Wire.all.length, 1, "it is connected")
  wire.end(1006)
  shown("hidden")
  assert.equal(Wire.all.length, 1)
  shown("visible")
  shown("visible")
  assert.equal(Wire.all.length, 2)
  Wire.all[1].open()
  Wire.all[1].end(1000)
  shown("visible")
  assert.equal(Wire.all.length, 2, "closed for good")
})

test("a page that is put away closes, and connects when it comes back", (t) => {
  const { window } = page(t)
  const [socket] = connected()
  window.dispatchEvent(new Event("pagehide"))
  assert.equal(socket.state, "closed")
  window.dispatchEvent(new Event("pageshow"))
  assert.equal(Wire.all.length, 2)
  Wire.all[1].open()
  socket.disconnect()
  window.dispatchEvent(new Event("pagehide"))
  window.dispatchEvent(new Event("pageshow"))
  assert.deepEqual([Wire.all.length, socket.state], [2, "closed"])
})
