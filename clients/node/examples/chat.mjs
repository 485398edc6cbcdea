// Chats in a room of examples/chat: node chat.mjs ADDRESS NAME [ROOM]. It sends the lines of stdin, and leaves at its end.
import { createInterface } from "node:readline"
import { connect, Presence } from "channelmesh-node"

const [address, user, room = "lobby"] = process.argv.slice(2)
if (!user) {
  console.error("usage: node chat.mjs ADDRESS NAME [ROOM], e.g. node chat.mjs tcp://127.0.0.1:4100 Ana")
  process.exit(2)
}
const problem = (error) => console.log(`! ${error.response?.reason ?? error.message}`)

let socket
try {
  socket = await connect(address, { params: { user, tab: `node-${process.pid}` } })
} catch (error) {
  problem(error)
  process.exit(1)
}
socket.onClose(() => {
  if (socket.state !== "closed") console.log("* the connection was lost; reconnecting")
})

const channel = socket.channel(`room:${room}`)
const presence = new Presence(channel)
const here = () => presence.list((name) => name).sort().join(", ")
presence.onJoin((name, before) => before || console.log(`* ${name} is here`))
presence.onLeave((name, { metas }) => metas.length || console.log(`* ${name} has left`))
channel.on("new_msg", ({ user, body }) => console.log(`${user}: ${body}`))
channel.onJoin(() => console.log(`* joined ${channel.topic}`))
channel.onRefused(problem)

try {
  await channel.join()
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "/who") console.log(`* here: ${here()}`)
    else if (line.trim()) await channel.push("new_msg", { body: line }).catch(problem)
  }
} catch (error) {
  problem(error)
}
await channel.leave()
socket.disconnect()
