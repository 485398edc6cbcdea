// clients/js without a server: frames byte by byte, and a socket whose WebSocket the test holds.
import assert from "node:assert/strict"
import { afterEach, test } from "node:test"
import { ChannelError, Socket, decode, encode } from "../../../clients/js/channelmesh.js"

const bytes = (...parts) =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...Buffer.from(part)] : [part])))

class Wire {
  static all = []

  constructor(url) {
    this.url = url
    this.readyState = 0
    this.sent = []
    Wire.all.push(this)
  }

  send(data) {
    this.sent.push(data)
  }

  close(code) {
    this.end(code)
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  say(...message) {
    this.onmessage({ data: JSON.stringify(message) })
  }

  end(code) {
    this.readyState = 3
    this.onclose({ code })
  }

  last() {
    return JSON.parse(this.sent.at(-1))
  }
}

const sockets = []
afterEach(() => sockets.splice(0).forEach((socket) => socket.disconnect()))

function connected(options = {}) {
  Wire.all = []
  const socket = new Socket("ws://host/socket", { transport: Wire, ...options })
  sockets.push(socket)
  socket.connect()
  Wire.all[0].open()
  return [socket, Wire.all[0]]
}

async function joined(socket, wire, topic = "room:1") {
  const channel = socket.channel(topic)
  const joining = channel.join()
  const [joinRef] = wire.last()
  wire.say(joinRef, joinRef, topic, "phx_reply", { status: "ok", response: { hello: 1 } })
  assert.deepEqual(await joining, { hello: 1 })
  return [channel, joinRef]
}

const tick = () => new Promise((resolve) => setImmediate(resolve))

test("a binary push has the bytes that Phoenix expects", () => {
  const frame = new Uint8Array(encode(["1", "77", "room:ü", "bin", Uint8Array.of(0, 255)]))
  assert.deepEqual(frame, bytes(0, 1, 2, 7, 3, "1", "77", "room:ü", "bin", 0, 255))
  assert.throws(() => encode(["1", "2", "x".repeat(256), "e", new ArrayBuffer(1)]), RangeError)
})

test("binary replies, broadcasts and pushes are read", () => {
  const data = (message) => [...new Uint8Array(message[4].response ?? message[4])]
  const reply = decode(bytes(1, 1, 2, 6, 2, "1", "77", "room:1", "ok", 9).buffer)
  assert.deepEqual([...reply.slice(0, 4), reply[4].status, data(reply)], ["1", "77", "room:1", "phx_reply", "ok", [9]])
  const broadcast = decode(bytes(2, 6, 3, "room:1", "new", 8).buffer)
  assert.deepEqual([...broadcast.slice(0, 4), data(broadcast)], [null, null, "room:1", "new", [8]])
  const push = decode(bytes(0, 1, 6, 3, "1", "room:1", "new", 7).buffer)
  assert.deepEqual([...push.slice(0, 4), data(push)], ["1", null, "room:1", "new", [7]])
})

test("the URL carries the parameters and the version", () => {
  Wire.all = []
  let n = 0
  const socket = new Socket("https://host/socket/", { transport: Wire, params: () => ({ n: ++n }) })
  socket.connect()
  assert.equal(Wire.all[0].url, "wss://host/socket/websocket?n=1&vsn=2.0.0")
})

test("pushes wait for the join and replies settle them", async () => {
  const [socket, wire] = connected()
  const channel = socket.channel("room:1")
  assert.throws(() => channel.cast("early"))
  channel.join()
  const [joinRef] = wire.last()
  const good = channel.push("a", { n: 1 })
  const bad = channel.push("b")
  assert.equal(wire.sent.length, 1)
  wire.say(joinRef, joinRef, "room:1", "phx_reply", { status: "ok", response: {} })
  await tick()
  const [, first, second] = wire.sent.map((each) => JSON.parse(each))
  assert.deepEqual([first[0], first[3], first[4], second[3]], [joinRef, "a", { n: 1 }, "b"])
  wire.say(joinRef, second[1], "room:1", "phx_reply", { status: "error", response: { reason: "bad" } })
  wire.say(joinRef, first[1], "room:1", "phx_reply", { status: "ok", response: { n: 2 } })
  assert.deepEqual(await good, { n: 2 })
  await assert.rejects(bad, (error) => error instanceof ChannelError && error.response.reason === "bad")
})

test("messages of an earlier join are dropped, broadcasts are not", async () => {
  const [socket, wire] = connected()
  const [channel, joinRef] = await joined(socket, wire)
  const seen = []
  const off = channel.on("e", ({ n }) => seen.push(n))
  wire.say("old", null, "room:1", "e", { n: 1 })
  wire.say(joinRef, null, "room:1", "e", { n: 2 })
  wire.say(null, null, "room:1", "e", { n: 3 })
  wire.say(null, null, "room:10", "e", { n: 4 })
  wire.say("old", "old", "room:1", "phx_error", {})
  off()
  wire.say(null, null, "room:1", "e", { n: 5 })
  assert.deepEqual([seen, channel.state], [[2, 3], "joined"])
})

test("a crash is followed by a rejoin, a close is not", async () => {
  const [socket, wire] = connected({ rejoinAfterMs: () => 0 })
  const [channel, joinRef] = await joined(socket, wire)
  const unanswered = channel.push("e")
  wire.say(joinRef, joinRef, "room:1", "phx_error", { reason: "channel_crash" })
  await assert.rejects(unanswered, { status: "crashed" })
  await new Promise((resolve) => setTimeout(resolve, 5))
  const [again] = wire.last()
  assert.notEqual(again, joinRef)
  wire.say(again, again, "room:1", "phx_reply", { status: "ok", response: {} })
  await tick()
  assert.equal(channel.state, "joined")
  wire.say(again, again, "room:1", "phx_close", {})
  assert.equal(channel.state, "closed")
})

test("a lost connection comes back with its channels, code 1000 stays away", async () => {
  const [socket, wire] = connected({ reconnectAfterMs: () => 0 })
  const [channel] = await joined(socket, wire)
  const buffered = []
  wire.end(1006)
  assert.equal(channel.state, "errored")
  channel.cast("later", { n: 1 })
  await new Promise((resolve) => setTimeout(resolve, 5))
  const second = Wire.all[1]
  second.open()
  const [ref, , topic, event] = second.last()
  assert.deepEqual([topic, event], ["room:1", "phx_join"])
  second.say(ref, ref, "room:1", "phx_reply", { status: "ok", response: {} })
  await tick()
  assert.deepEqual(second.last().slice(3), ["later", { n: 1 }])
  second.end(1000)
  await new Promise((resolve) => setTimeout(resolve, 5))
  assert.deepEqual([Wire.all.length, socket.state, buffered], [2, "closed", []])
})

test("a join that times out is left and tried again", async () => {
  const [socket, wire] = connected({ timeoutMs: 5, rejoinAfterMs: () => 0 })
  const channel = socket.channel("room:1")
  await assert.rejects(channel.join(), { status: "timeout" })
  await new Promise((resolve) => setTimeout(resolve, 3))
  const events = wire.sent.map((each) => JSON.parse(each)[3])
  assert.deepEqual(events.slice(0, 3), ["phx_join", "phx_leave", "phx_join"])
  channel.leave()
})

test("a heartbeat without answer ends the connection", async () => {
  const [, wire] = connected({ heartbeatIntervalMs: 5, reconnectAfterMs: () => 0 })
  while (Wire.all.length < 2) await new Promise((resolve) => setTimeout(resolve, 1)) // for as long as a test may take
  assert.equal(wire.last()[3], "heartbeat")
})
