// A Channelmesh worker in JavaScript: node worker.mjs PROXY-ADDRESS. It serves "node:*" of the mount "/socket":
// echo (reply), shout (broadcast, then reply), push_me (push), refuse by join payload {"refuse": true}.
// The wire: docs/protocol.md §2, §3.
import { decode, encode } from "@msgpack/msgpack"
import { Publisher, Router } from "zeromq"

const proxy = process.argv[2]
const id = `node-worker-${process.pid}-${Date.now()}`
const JSON_CODEC = 0
const [HELLO, WELCOME, JOIN, PUSH, LEAVE, REPLACE, SOCKET_DOWN, JOINED, REFUSED, REPLY, PUSHED, CLOSED] = Array(12).keys()
const [PING, INCOMPATIBLE] = [13, 15]
const json = (value) => Buffer.from(JSON.stringify(value))

const router = new Router({ mandatory: true, linger: 0 })
await router.bind("tcp://127.0.0.1:*")
const bus = new Publisher({ linger: 500 })
bus.connect(proxy)

// The bus: topic and NUL, header, payload; everything is numbered.
let sequence = 0
const queue = []
let sending = false

/** One after the other: a socket takes the next message when the last one is on its way. */
async function drain() {
  if (sending) return
  sending = true
  while (queue.length) {
    const [socket, frames] = queue.shift()
    await socket.send(frames).catch(() => {}) // a gateway that is gone
  }
  sending = false
}

function send(socket, frames) {
  queue.push([socket, frames])
  drain()
}

function publish(kind, topic, event, payload, sender = null) {
  const header = [1, kind, id, ++sequence, event, JSON_CODEC, sender]
  send(bus, [Buffer.from(`${topic}\0`), encode(header), payload])
  return sequence
}

function announce(state = "up") {
  const routes = [["/socket", "node:*"]]
  publish(2, "$nodes", "", encode({ version: 1, node: id, kind: "worker", state, link: router.lastEndpoint, routes }))
}

// The links: each gateway's id, how many commands were sent to it, its channels.
const links = new Map()

function command(link, number, channel, ...rest) {
  send(router, [link.identity, encode([[number, channel, ...rest]])])
  link.sent++
  const known = link.channels.get(channel)
  if (known) known.behind = link.sent
}

const handlers = {
  [HELLO](link, version, gateway, oldest = version) {
    if (oldest > 1) return send(router, [link.identity, encode([[INCOMPATIBLE, 1, 1]])])
    link.gateway = gateway
    send(router, [link.identity, encode([[WELCOME, 1, id]])])
    link.sent++
  },
  [JOIN](link, channel, mount, topic, joinRef, socketId, transport, serializer, assigns, codec, data) {
    const payload = JSON.parse(Buffer.from(data).toString())
    if (payload.refuse) return command(link, REFUSED, channel, JSON_CODEC, json({ reason: "refused in JavaScript" }))
    link.channels.set(channel, { topic, after: 0, behind: 0 })
    command(link, JOINED, channel, [], sequence, JSON_CODEC, json({ language: "JavaScript", user: decode(assigns).user }))
  },
  [PUSH](link, channel, ref, event, codec, data) {
    const it = link.channels.get(channel)
    if (!it) return
    if (event === "echo") command(link, REPLY, channel, it.after, ref, "ok", codec, data)
    if (event === "push_me") command(link, PUSHED, channel, it.after, "pushed", codec, data)
    if (event === "shout") {
      it.after = publish(1, it.topic, "shout", data, [link.gateway, channel, false, it.behind])
      command(link, REPLY, channel, it.after, ref, "ok", JSON_CODEC, json({}))
    }
  },
  [LEAVE](link, channel, ref) {
    const it = link.channels.get(channel)
    if (!it) return
    command(link, REPLY, channel, it.after, ref, "ok", JSON_CODEC, json({}))
    command(link, CLOSED, channel, it.after)
    link.channels.delete(channel)
  },
  [REPLACE](link, channel) {
    link.channels.delete(channel)
    command(link, CLOSED, channel, 0)
  },
  [SOCKET_DOWN](link, channels) {
    for (const channel of channels) link.channels.delete(channel)
  },
}

setInterval(announce, 500)
setInterval(() => {
  for (const link of links.values()) command(link, PING)
}, 1000)
announce()
process.on("SIGTERM", () => {
  announce("down")
  setTimeout(() => process.exit(0), 200)
})
console.log(`serving node:* at ${router.lastEndpoint}`)

for await (const [identity, batch] of router) {
  const name = identity.toString("hex")
  if (!links.has(name)) links.set(name, { identity, gateway: "", sent: 0, channels: new Map() })
  for (const [number, ...elements] of decode(batch)) handlers[number]?.(links.get(name), ...elements)
}
