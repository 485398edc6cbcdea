// clients/js against a running conformance application: node live.mjs URL
import assert from "node:assert/strict"
import WebSocket from "ws"
import { Socket } from "../../../clients/js/channelmesh.js"

const socket = new Socket(`${process.argv[2]}/socket`, { transport: WebSocket, rejoinAfterMs: () => 10 })
socket.connect()
const room = socket.channel("room:live")
assert.deepEqual(await room.join(), { topic: "room:live" })
await assert.rejects(socket.channel("room:private").join(), { status: "error" })
assert.deepEqual(await room.push("echo", { a: 1 }), { a: 1 })
await assert.rejects(room.push("fail"), (error) => error.response.reason === "bad")
assert.deepEqual([...new Uint8Array(await room.push("bin", Uint8Array.of(1, 2)))], [1, 2])
const broadcast = new Promise((resolve) => room.on("new_msg", resolve))
room.cast("new_msg", { n: 1 })
assert.deepEqual(await broadcast, { n: 1 })
const crashed = new Promise((resolve) => room.onError(resolve))
room.cast("crash")
assert.deepEqual(await crashed, { reason: "channel_crash" })
assert.deepEqual(await room.push("echo", { back: 1 }), { back: 1 })
await room.leave()
process.exit(0)
