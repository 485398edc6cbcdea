// History of the packed clients/node, over ZeroMQ; the gateway is a ROUTER that says what the test wants.
import assert from "node:assert/strict"
import { test } from "node:test"
import { History, Socket } from "channelmesh-node"
import { History as same } from "channelmesh-node/history"
import { Router } from "zeromq"

const EPOCH = "k3v9a0b1c2d3"

test("a channel goes on after a cut, each broadcast comes once, and a gap is told", async () => {
  assert.equal(same, History)
  const router = new Router({ linger: 10000, mandatory: true })
  await router.bind("tcp://127.0.0.1:*")
  let client
  const next = async (kind) => {
    for (;;) {
      const [identity, got, content] = await router.receive()
      client = identity
      if (String(got) === kind) return String(content)
    }
  }
  const say = (kind, content) => router.send([client, kind, content])
  const opened = async () => {
    await next("O")
    await say("O", '{"idle_timeout_seconds":60}')
  }
  const answered = async (state) => {
    const [joinRef, , , , payload] = JSON.parse(await next("T"))
    await say("T", `["${joinRef}","${joinRef}","room:1","phx_reply",{"status":"ok","response":{}}]`)
    await say("T", `["${joinRef}",null,"room:1","history_state",${state}]`)
    return payload
  }

  const socket = new Socket(router.lastEndpoint, { reconnectAfterMs: () => 1 })
  const room = socket.channel("room:1", History.params({ nick: "ann" }, { last: 1 }))
  const seen = []
  let changed = () => {}
  const saw = (what) => changed(seen.push(what))
  const until = async (count) => {
    while (seen.length < count) await new Promise((resolve) => (changed = resolve))
  }
  const history = new History(room, { onGap: ({ offset }) => saw(`gap ${offset}`) })
  history.on("new_msg", ({ n }) => saw(n))
  history.on("frame", (data) => saw(...new Uint8Array(data)))
  try {
    socket.connect()
    room.join().catch(() => {})
    await opened()
    const first = await answered(`{"epoch":"${EPOCH}","offset":1,"recovered":true,"count":1}`)
    assert.deepEqual(first, { nick: "ann", history: { last: 1 } })
    await say("T", `[null,"${EPOCH}:1","room:1","new_msg",{"n":1}]`)
    await say("T", `[null,"${EPOCH}:1","room:1","new_msg",{"n":1}]`)
    await say("T", `[null,null,"room:1","history_position",{"epoch":"${EPOCH}","offset":2,"event":"frame"}]`)
    await say("B", Buffer.from("\x02\x06\x05room:1frame\x07"))
    await until(2)
    assert.deepEqual(history.position, { epoch: EPOCH, offset: 2 })
    await say("C", '{"code":1012,"reason":"restart"}')
    await opened()
    const second = await answered(`{"epoch":"${EPOCH}","offset":9,"recovered":false,"count":0}`)
    assert.deepEqual(second, { nick: "ann", history: { epoch: EPOCH, offset: 2 } })
    await say("T", `[null,"${EPOCH}:10","room:1","new_msg",{"n":10}]`)
    await until(4)
    assert.deepEqual(seen, [1, 7, "gap 9", 10])
  } finally {
    socket.disconnect()
    router.close()
  }
})
