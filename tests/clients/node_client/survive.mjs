// Our own Socket when nodes die: node survive.mjs ADDRESS. Prints "ready"; for each line on stdin, waits until it has come
// back, and prints what happened: "crashed N", or "closed CODE", or both. The end of stdin ends it.
import assert from "node:assert/strict"
import { createInterface } from "node:readline"
import { connect } from "channelmesh-node"

const [address] = process.argv.slice(2)
const socket = await connect(address)
const rooms = Array.from({ length: 24 }, (_, n) => socket.channel(`room:${n}`))
let errors = 0
let joins = 0
let codes = []
socket.onClose(({ code }) => codes.push(code))
for (const room of rooms) {
  room.onError(() => errors++)
  room.onJoin(() => joins++)
  await room.join()
}
joins = 0
console.log("ready")

for await (const least of createInterface({ input: process.stdin })) {
  while (errors < Number(least) || joins < errors) await new Promise((resolve) => setTimeout(resolve, 5))
  const echoes = await Promise.all(rooms.map((room, n) => room.push("echo", { n })))
  assert.deepEqual(echoes, rooms.map((_, n) => ({ n })))
  console.log(`back ${joins} ${codes[0] ?? "still connected"}`)
  errors = joins = 0
  codes = []
}
socket.disconnect()
