// clients/js when things go wrong at the wrong moment; the WebSocket is the test's. Frames and plain use: ../js
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import { ChannelError, Socket, decode } from "../../../clients/js/channelmesh.js"
import { Presence } from "../../../clients/js/presence.js"

/** As a real one, it closes only when the other end has answered: `end`. */
class Wire {
  static all = []

  constructor(url) {
    this.url = url
    this.readyState = 0
    this.sent = []
    Wire.all.push(this)
  }

  send(data) {
    this.sent.push(JSON.parse(data))
  }

  close(code) {
    this.readyState = 2
    this.closing = code
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  say(...message) {
    this.onmessage({ data: JSON.stringify(message) })
  }

  end(code = this.closing) {
    this.readyState = 3
    this.onclose({ code })
  }

  /** The latest message of that event. */
  last(event) {
    return this.sent.findLast((message) => message[3] === event)
  }

  /** Answer the latest message of that event, with ok. */
  answer(event, response = {}) {
    const [joinRef, ref, topic] = this.last(event)
    this.say(joinRef, ref, topic, "phx_reply", { status: "ok", response })
    return joinRef
  }
}

const sockets = []
afterEach(() => sockets.splice(0).forEach((socket) => socket.disconnect()))

const NEVER = () => 1e6
const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

function connecting(options = { reconnectAfterMs: () => 0 }) {
  Wire.all = []
  const socket = new Socket("ws://host/socket", { transport: Wire, ...options })
  sockets.push(socket)
  socket.connect()
  return [socket, Wire.all[0]]
}

function connected(options) {
  const [socket, wire] = connecting({ reconnectAfterMs: () => 0, ...options })
  wire.open()
  return [socket, wire]
}

function joined(options) {
  const [socket, wire] = connected(options)
  const channel = socket.channel("room:1")
  channel.join()
  const joinRef = wire.answer("phx_join")
  assert.equal(channel.state, "joined")
  return { socket, wire, channel, joinRef }
}

test("an event that comes in one read with the join reply is not lost", () => {
  const [socket, wire] = connected()
  const channel = socket.channel("room:1")
  const seen = []
  channel.on("e", (payload) => seen.push(payload))
  channel.join()
  const joinRef = wire.answer("phx_join")
  wire.say(joinRef, null, "room:1", "e", { n: 1 })
  assert.deepEqual(seen, [{ n: 1 }])
})

test("a presence diff of a join that was given up leaves no ghost after the next one", async () => {
  const [socket, wire] = connected({ timeoutMs: 5, rejoinAfterMs: () => 10 })
  const channel = socket.channel("room:1")
  const presence = new Presence(channel)
  const metas = (ref) => ({ metas: [{ phx_ref: ref }] })
  await assert.rejects(channel.join(), { status: "timeout" })
  // the server has joined all the same, until it reads phx_leave
  wire.say(null, null, "room:1", "presence_diff", { joins: { ghost: metas("1") }, leaves: {} })
  await after(12)
  const joinRef = wire.answer("phx_join")
  wire.say(null, null, "room:1", "presence_diff", { joins: { bo: metas("2") }, leaves: {} })
  wire.say(joinRef, null, "room:1", "presence_state", { ana: metas("3") })
  assert.deepEqual([...presence.state.keys()], ["ana", "bo"])
})

test("a crash that comes in one read with the join reply leads to a rejoin", async () => {
  const { wire, channel, joinRef } = joined({ rejoinAfterMs: () => 0 })
  wire.say(joinRef, joinRef, "room:1", "phx_error", {})
  assert.equal(channel.state, "errored")
  await after(5)
  assert.notEqual(wire.last("phx_join")[0], joinRef)
})

test("connect right after disconnect connects, and the old connection's end disturbs nobody", async () => {
  const { socket, wire, channel } = joined()
  const codes = []
  socket.onClose(({ code }) => codes.push(code))
  socket.disconnect()
  assert.equal(socket.state, "closed")
  socket.connect()
  Wire.all[1].open()
  Wire.all[1].answer("phx_join")
  wire.say(null, null, "room:1", "e", {})
  wire.end()
  await after(5)
  assert.deepEqual([Wire.all.length, socket.state, channel.state, codes], [2, "open", "joined", [1000]])
})

test("disconnect while connecting stays disconnected", async () => {
  const [socket, wire] = connecting()
  socket.disconnect()
  wire.end(1006)
  await after(5)
  assert.deepEqual([Wire.all.length, socket.state], [1, "closed"])
})

test("between two tries a socket is connecting, after code 1000 it is closed", () => {
  const [socket, wire] = connected({ reconnectAfterMs: NEVER })
  wire.end(1006)
  assert.equal(socket.state, "connecting")
  socket.connect()
  Wire.all[1].open()
  Wire.all[1].end(1000)
  assert.equal(socket.state, "closed")
})

test("a first join without a server is rejected in time, and succeeds later all the same", async () => {
  const [socket, wire] = connecting({ timeoutMs: 10 })
  const channel = socket.channel("room:1")
  await assert.rejects(channel.join(), { name: "ChannelError", status: "timeout" })
  wire.open()
  wire.answer("phx_join")
  assert.equal(channel.state, "joined")
})

test("a first join cut off by a lost connection is rejected in time", async () => {
  const [socket, wire] = connected({ timeoutMs: 10, reconnectAfterMs: NEVER })
  const joining = socket.channel("room:1").join()
  wire.end(1006)
  await assert.rejects(joining, { status: "timeout" })
})

test("a failed first join that nobody waits for is no unhandled rejection", async () => {
  const [socket] = connecting({ timeoutMs: 1 })
  socket.channel("room:1").join()
  await after(10) // node:test fails a test that leaves an unhandled rejection
})

test("the back-off is asked with 1, 2, 3, and with 1 again after a success", async () => {
  const tries = []
  const { socket, wire, joinRef } = joined({ rejoinAfterMs: (n) => tries.push(n) * 0, timeoutMs: 1000 })
  wire.say(joinRef, joinRef, "room:1", "phx_error", {})
  for (const status of ["error", "error", "ok"]) {
    await after(5)
    const [ref] = wire.last("phx_join")
    wire.say(ref, ref, "room:1", "phx_reply", { status, response: {} })
  }
  const [again] = wire.last("phx_join")
  wire.say(again, again, "room:1", "phx_error", {})
  assert.deepEqual(tries, [1, 2, 3, 1])
  assert.equal(socket.state, "open")
})

test("by default it waits as phoenix.js does, give or take a half before connecting", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] })
  for (const [random, factor] of [[0, 0.5], [0.5, 1], [1, 1.5]]) {
    t.mock.method(Math, "random", () => random)
    const [socket] = connecting({})
    for (const wait of [10, 50, 100, 150, 200, 250, 500, 1000, 2000, 5000, 5000]) {
      const before = Wire.all.length
      Wire.all.at(-1).end(1006)
      t.mock.timers.tick(wait * factor - 1)
      assert.equal(Wire.all.length, before, `sooner than ${wait}`)
      t.mock.timers.tick(1)
      assert.equal(Wire.all.length, before + 1, `later than ${wait}`)
    }
    socket.disconnect()
  }
  const { wire, joinRef } = joined()
  wire.say(joinRef, joinRef, "room:1", "phx_error", {})
  for (const wait of [1000, 2000, 5000, 10000, 10000]) {
    const before = wire.sent.length
    t.mock.timers.tick(wait - 1)
    assert.equal(wire.sent.length, before, `sooner than ${wait}`)
    t.mock.timers.tick(1)
    assert.equal(wire.sent.length, before + 1, `later than ${wait}`)
    const [ref] = wire.last("phx_join")
    wire.say(ref, ref, "room:1", "phx_reply", { status: "error", response: {} })
  }
})

test("a channel rejoins at once and resets its back-off when the connection is back", async () => {
  const tries = []
  const { wire, joinRef } = joined({ rejoinAfterMs: (n) => tries.push(n) && 1e6 })
  wire.say(joinRef, joinRef, "room:1", "phx_error", {})
  wire.end(1006)
  await after(5)
  Wire.all[1].open()
  const [ref] = Wire.all[1].last("phx_join")
  Wire.all[1].say(ref, ref, "room:1", "phx_reply", { status: "error", response: {} })
  assert.deepEqual(tries, [1, 1])
})

test("a push before join, or one that cannot be encoded, is rejected and leaves nothing behind", async () => {
  const [socket, wire] = connected({ timeoutMs: 5 })
  const channel = socket.channel("room:1")
  await assert.rejects(channel.push("e"), /join room:1 before pushing/)
  channel.join()
  const long = "x".repeat(256)
  await assert.rejects(channel.push(long, new ArrayBuffer(1)), RangeError)
  wire.answer("phx_join")
  await assert.rejects(channel.push(long, new ArrayBuffer(1)), RangeError)
  await after(15)
  assert.deepEqual(wire.sent.map(([, , , event]) => event), ["phx_join"])
})

test("a push that timed out in the buffer is not sent", async () => {
  const [socket, wire] = connected()
  const channel = socket.channel("room:1")
  channel.join()
  await assert.rejects(channel.push("late", {}, 1), { status: "timeout" })
  wire.answer("phx_join")
  assert.equal(wire.last("late"), undefined)
})

test("after a lost connection the sent push is rejected, the buffered one goes out", async () => {
  const { wire, channel } = joined()
  const sent = channel.push("sent")
  wire.end(1006)
  const buffered = channel.push("buffered")
  await assert.rejects(sent, { status: "disconnected" })
  await after(5)
  Wire.all[1].open()
  Wire.all[1].answer("phx_join")
  Wire.all[1].answer("buffered", { n: 1 })
  assert.deepEqual(await buffered, { n: 1 })
  assert.equal(Wire.all[1].last("sent"), undefined)
})

test("leave while joining never joins, and rejects the join", async () => {
  const [socket, wire] = connected()
  const channel = socket.channel("room:1")
  const joining = channel.join()
  const leaving = channel.leave()
  wire.answer("phx_join")
  assert.equal(channel.state, "leaving")
  wire.answer("phx_leave")
  await leaving
  await assert.rejects(joining, { status: "closed" })
  assert.equal(channel.state, "closed")
})

test("however often a channel is left, it closes once; what is pushed then fails", async () => {
  const { wire, channel, joinRef } = joined()
  let closed = 0
  channel.onClose(() => closed++)
  const leaving = [channel.leave(), channel.leave()]
  wire.answer("phx_leave")
  wire.say(joinRef, joinRef, "room:1", "phx_close", {})
  await Promise.all(leaving)
  await channel.leave()
  assert.deepEqual([closed, wire.sent.filter(([, , , event]) => event === "phx_leave").length], [1, 1])
  await assert.rejects(channel.push("e"), { status: "closed" })
  assert.throws(() => channel.cast("e"), ChannelError)
})

test("leave ends when the connection does", async () => {
  const { wire, channel } = joined({ reconnectAfterMs: NEVER })
  const leaving = channel.leave()
  wire.end(1006)
  await leaving
  assert.equal(channel.state, "closed")
})

test("a callback that throws is reported; the others are called and the socket reconnects", async (t) => {
  const { wire, channel } = joined()
  const reported = []
  const before = globalThis.reportError
  globalThis.reportError = (error) => reported.push(error.message)
  t.after(() => (globalThis.reportError = before))
  let called = 0
  channel.onError(() => {
    throw new Error("of the application")
  })
  channel.onError(() => called++)
  wire.end(1006)
  await after(5)
  assert.deepEqual([reported, called, Wire.all.length], [["of the application"], 1, 2])
})

test("a frame that cannot be read is told and dropped", () => {
  const { socket, wire, channel } = joined()
  const errors = []
  socket.onError((error) => errors.push(error.name))
  wire.onmessage({ data: "{not json" })
  wire.onmessage({ data: Uint8Array.of(9, 1, 1).buffer })
  assert.deepEqual([errors, channel.state], [["SyntaxError", "RangeError"], "joined"])
  assert.throws(() => decode(Uint8Array.of(3).buffer), /kind 3/)
})
