// Our own Socket, Channel and Presence over ZeroMQ: node live.mjs ADDRESS. Against the conformance application. It must
// end by itself: nothing here exits.
import assert from "node:assert/strict"
import { ConnectionError, Presence, RefusedError, Socket, connect } from "channelmesh-node"

const [address] = process.argv.slice(2)
const bytes = (payload) => [...new Uint8Array(payload)]
const next = (channel, event) =>
  new Promise((resolve) => {
    const off = channel.on(event, (payload) => resolve(payload, off()))
  })
const until = async (true_) => {
  while (!true_()) await new Promise((resolve) => setTimeout(resolve, 5))
}

// Refusals: by the application, for want of such a socket, for want of a gateway.
const refusal = (options, wanted) => assert.rejects(connect(address, options), wanted)
await refusal({ params: { token: "bad" } }, (error) => error instanceof RefusedError && error.status === 403)
await refusal({ path: "/nope" }, { name: "RefusedError", status: 404, reason: "no socket at '/nope'" })
await assert.rejects(connect("tcp://127.0.0.1:9", { timeoutMs: 100 }), ConnectionError)

// A Socket that does not wait hears of it, and goes on asking.
const impatient = new Socket(address, { params: { token: "bad" }, reconnectAfterMs: () => 1 })
let refused = 0
impatient.onError(({ error }) => (refused += error.status === 403))
impatient.connect()
await until(() => refused >= 3)
impatient.disconnect()

// Joins, replies, refusals, bytes.
const socket = await connect(address, { params: { user_id: "ana" }, rejoinAfterMs: () => 10 })
assert.equal(socket.state, "open")
assert.ok((await socket.ping()) >= 0)
const room = socket.channel("room:node")
const joins = []
room.onJoin((response) => joins.push(response))
assert.deepEqual(await room.join(), { topic: "room:node" })
assert.deepEqual(await room.push("echo", { text: "ü€😀" }), { text: "ü€😀" })
await assert.rejects(room.push("fail"), { status: "error", response: { reason: "bad" } })
assert.deepEqual(bytes(await room.push("bin", Uint8Array.of(0, 255))), [0, 255])
const forbidden = socket.channel("room:private")
await assert.rejects(forbidden.join(), { status: "error", response: { reason: "unauthorized" } })
await forbidden.leave()

// Broadcasts between two clients, in order; a megabyte.
const other = await connect(address, { params: { user_id: "bo" } })
const there = other.channel("room:node")
await there.join()
const received = []
const off = there.on("new_msg", ({ n }) => received.push(n))
for (let n = 0; n < 2000; n++) room.cast("new_msg", { n })
await until(() => received.length === 2000)
assert.deepEqual(received, Array.from({ length: 2000 }, (_, n) => n))
off()
const large = next(there, "new_msg")
room.cast("new_msg", new Uint8Array(900_000).fill(7))
assert.equal((await large).byteLength, 900_000)

// A crash ends this channel only; it comes back.
const crashed = new Promise((resolve) => room.onError(resolve))
room.cast("crash")
await crashed
assert.deepEqual(await room.push("echo", { back: 1 }), { back: 1 })
assert.equal(joins.length, 2)
assert.equal(there.state, "joined")

// Presence.
const people = socket.channel("presence:node")
const presence = new Presence(people)
const names = () => presence.list((name) => name).sort().join()
await people.join()
const elsewhere = other.channel("presence:node")
await elsewhere.join()
await until(() => names() === "ana,bo")
other.disconnect()
await until(() => names() === "ana")

await room.leave()
socket.disconnect()
