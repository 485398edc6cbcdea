// Joins topics, says "ready", and each time something dies (a line on stdin) comes back by itself.
// Prints "rejoined N" once all channels that failed are joined again, N of them.
import { createInterface } from "node:readline"
import { answer, assert, connect, join, PATIENCE, until, urls } from "./harness.mjs"

const socket = connect(urls[0])
const channels = []
for (let n = 0; n < 24; n++) channels.push(await join(socket, `room:${n}`))
let failed = new Set()
for (const channel of channels) channel.onError(() => failed.add(channel.topic))
console.log("ready")

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "end") break
  const least = Number(line)
  await until(() => failed.size >= least, PATIENCE, `${least} channels failed`)
  await until(() => channels.every((channel) => channel.state === "joined"), PATIENCE, "all joined again")
  const echoes = await Promise.all(channels.map((channel, n) => answer(channel.push("echo", { n }))))
  echoes.forEach((each, n) => assert.deepEqual(each, ["ok", { n }]))
  console.log(`rejoined ${failed.size}`)
  failed = new Set()
}
process.exit(0)
