// clients/js against a running conformance application: node live.mjs URL. Exits 0 when all is well, 1 when not.
import assert from "node:assert/strict"
import WebSocket from "ws"
import { Socket } from "../../../clients/js/channelmesh.js"

const url = process.argv[2]?.replace(/\/$/, "")
assert.ok(url, "usage: node live.mjs URL, e.g. http://localhost:4000")
const LATE_MS = 240000
setTimeout(() => {
  console.error(`not done after ${LATE_MS} ms`)
  process.exit(1)
}, LATE_MS).unref()

const socket = new Socket(`${url}/socket`, { transport: WebSocket, rejoinAfterMs: () => 10 })
const next = (room, event) =>
  new Promise((resolve) => {
    const off = room.on(event, (payload) => resolve(payload, off()))
  })

// Pushes made before the connection is open wait for the join.
const room = socket.channel("room:live")
const joining = room.join()
const early = room.push("echo", { early: 1 })
socket.connect()
assert.deepEqual(await joining, { topic: "room:live" })
assert.deepEqual(await early, { early: 1 })

// Refusals and replies.
const refused = socket.channel("room:private")
await assert.rejects(refused.join(), { status: "error", response: { reason: "unauthorized" } })
await refused.leave()
const unrouted = socket.channel("nope:x")
await assert.rejects(unrouted.join(), { status: "error", response: { reason: "unmatched topic" } })
await unrouted.leave()
assert.deepEqual(await room.push("echo", { text: "ü€😀" }), { text: "ü€😀" })
await assert.rejects(room.push("fail"), { status: "error", response: { reason: "bad" } })
await assert.rejects(room.push("noreply", {}, 50), { status: "timeout" })

// Binary payloads: an ArrayBuffer, and a view that is only a part of one.
const bytes = (payload) => [...new Uint8Array(payload)]
assert.deepEqual(bytes(await room.push("bin", Uint8Array.of(0, 255).buffer)), [0, 255])
assert.deepEqual(bytes(await room.push("bin", Uint8Array.of(1, 2, 3, 4).subarray(1, 3))), [2, 3])

// A push by the server; broadcasts, to a second channel's socket too.
const pushed = next(room, "pushed")
room.cast("push_me", { k: 1 })
assert.deepEqual(await pushed, { k: 1 })
const other = new Socket(`${url}/socket`, { transport: WebSocket })
other.connect()
const there = other.channel("room:live")
await there.join()
const heard = [next(room, "new_msg"), next(there, "new_msg")]
room.cast("new_msg", { n: 1 })
assert.deepEqual(await Promise.all(heard), [{ n: 1 }, { n: 1 }])
const binary = next(there, "new_msg")
room.cast("new_msg", Uint8Array.of(7))
assert.deepEqual(bytes(await binary), [7])

// A crash ends this channel only; it comes back, and what is pushed meanwhile waits.
const crashed = new Promise((resolve) => room.onError(resolve))
room.cast("crash")
await crashed
assert.equal(there.state, "joined")
assert.deepEqual(await room.push("echo", { back: 1 }), { back: 1 })

// A connection that is opened again at once keeps the channels.
other.disconnect()
other.connect()
assert.deepEqual(await there.push("echo", { again: 1 }), { again: 1 })

// The server's close and our leave are for good.
const stopped = new Promise((resolve) => there.onClose(resolve))
await there.push("stop")
await stopped
await assert.rejects(there.push("echo"), { status: "closed" })
await room.leave()
assert.equal(room.state, "closed")
process.exit(0)
