// A trusted program on the bus: node bus.mjs PROXY PREFIX [TOPIC EVENT JSON]. It prints the broadcasts to topics that begin
// with PREFIX, and sends one broadcast if TOPIC is given. Ctrl-C ends it. The wire format is in docs/protocol.md §2.
import { decode, encode } from "@msgpack/msgpack"
import { Subscriber, XPublisher } from "zeromq"

const [proxy, prefix, topic, event, json] = process.argv.slice(2)
if (prefix === undefined) {
  console.error(`usage: node bus.mjs PROXY PREFIX [TOPIC EVENT JSON], e.g.
  node bus.mjs tcp://127.0.0.1:5550 room: room:lobby new_msg '{"user":"Node","tab":"bus","body":"hello"}'`)
  process.exit(2)
}
const VERSION = 1
const [BROADCAST, RECORDED] = [1, 11]
const REMEMBERED = 10_000
const [JSON_CODEC, , MSGPACK] = [0, 1, 2]

/** A proxy's subscribers connect to the next port, or to PATH.sub. */
const subscribers = proxy.startsWith("tcp:") ? proxy.replace(/\d+$/, (port) => Number(port) + 1) : `${proxy}.sub`

const sub = new Subscriber({ linger: 0 })
sub.subscribe(prefix)
sub.connect(subscribers)
const pub = new XPublisher({ linger: 500 }) // the proxy's subscription shows that it is connected
pub.connect(proxy)
process.once("SIGINT", () => {
  sub.close()
  pub.close()
})

function payloadOf(codec, data) {
  if (codec === JSON_CODEC) return data.toString()
  return codec === MSGPACK ? JSON.stringify(decode(data)) : `${data.length} bytes`
}

const seen = new Set()

/** A broadcast of a topic with a history comes once more, or only, as a recorded one. Its original is the same for both. */
function comesAgain(origin, sequence) {
  const original = `${sequence} ${origin}`
  if (seen.has(original)) return true
  seen.add(original)
  if (seen.size > REMEMBERED) seen.delete(seen.values().next().value)
  return false
}

async function print() {
  for await (const [frame, header, data] of sub) {
    const [version, kind, origin, sequence, event, codec, , , recorded] = decode(header)
    if (version !== VERSION || (kind !== BROADCAST && kind !== RECORDED)) continue
    if (kind === RECORDED && event === "") continue // a worker begins to record the topic
    const original = kind === RECORDED && recorded[3] !== "" ? recorded.slice(3) : [origin, sequence]
    if (comesAgain(...original)) continue
    console.log(frame.subarray(0, -1).toString(), event, payloadOf(codec, data))
  }
}

async function broadcast() {
  await pub.receive()
  const origin = `bus.mjs-${process.pid}-${Date.now()}`
  const header = [VERSION, BROADCAST, origin, 1, event, JSON_CODEC, null]
  await pub.send([`${topic}\0`, encode(header), JSON.stringify(JSON.parse(json))])
}

const printing = print()
if (topic) await broadcast()
await printing
