// node idle.mjs ADDRESS, of a gateway with a short idle time-out: who opens and says nothing is closed, a Socket is not.
import assert from "node:assert/strict"
import { connect } from "channelmesh-node"
import { Dealer } from "zeromq"

const [address] = process.argv.slice(2)
const socket = await connect(address)
let closed = 0
socket.onClose(() => closed++)
const room = socket.channel("room:idle")
await room.join()

for (let round = 0; round < 2; round++) {
  const silent = new Dealer({ linger: 0 })
  silent.connect(address)
  await silent.send(["O", '{"path":"/socket","params":{"vsn":"2.0.0"}}'])
  const kinds = []
  while (kinds.at(-1) !== "C") kinds.push(String((await silent.receive())[0]))
  assert.deepEqual(kinds.filter((kind) => kind !== "P"), ["O", "C"])
  silent.close()
}
assert.deepEqual(await room.push("echo", { n: 1 }), { n: 1 })
assert.equal(closed, 0)
socket.disconnect()
