// CURVE before a real gateway: node curve.mjs ADDRESS. A ROUTER with a key takes clients and relays each to the gateway.
import assert from "node:assert/strict"
import { connect } from "channelmesh-node"
import { Dealer, Router, curveKeyPair } from "zeromq"

const [address] = process.argv.slice(2)
const server = curveKeyPair()
const front = new Router({ curveServer: true, curveSecretKey: server.secretKey, linger: 0 })
await front.bind("tcp://127.0.0.1:*")
const relays = new Map()

async function answers(identity, dealer) {
  for await (const frames of dealer) await front.send([identity, ...frames])
}

async function relay() {
  for await (const [identity, ...frames] of front) {
    const name = identity.toString("hex")
    if (!relays.has(name)) {
      const dealer = new Dealer({ linger: 0 })
      dealer.connect(address)
      relays.set(name, dealer)
      answers(identity, dealer).catch(() => {})
    }
    await relays.get(name).send(frames)
  }
}
const relaying = relay()

const at = (options) => connect(front.lastEndpoint, { params: { user_id: "ana" }, ...options })
for (const own of [{}, curveKeyPair()]) {
  const socket = await at({ serverKey: server.publicKey, ...own })
  const room = socket.channel("room:curve")
  await room.join()
  assert.deepEqual(await room.push("echo", { n: 1 }), { n: 1 })
  socket.disconnect()
}
const before = relays.size
for (const options of [{}, { serverKey: curveKeyPair().publicKey }]) {
  await assert.rejects(at({ ...options, timeoutMs: 500 }), { name: "ConnectionError" })
}
assert.equal(relays.size, before, "nobody without the right key came through")
relays.forEach((dealer) => dealer.close())
front.close()
await relaying
