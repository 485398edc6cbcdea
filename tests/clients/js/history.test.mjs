// clients/js/history.js with phoenix.js 1.6 to 1.8 and with clients/js, against messages that the test writes.
import assert from "node:assert/strict"
import { createRequire } from "node:module"
import { afterEach, describe, test } from "node:test"
import * as ours from "../../../clients/js/channelmesh.js"
import { History } from "../../../clients/js/history.js"
import { EPOCH, OTHER, Wire } from "./history_wire.mjs"

globalThis.self = globalThis // phoenix.js up to 1.7 expects a browser's globals
const require = createRequire(new URL("../package.json", import.meta.url))
const clients = { "clients/js": ours }
for (const name of ["phoenix", "phoenix-1-8-6", "phoenix-1-7", "phoenix-1-6"])
  clients[`phoenix.js ${require(`./node_modules/${name}/package.json`).version}`] = require(name)

const at = (offset, epoch = EPOCH) => ({ epoch, offset })
const PATIENCE = 240_000

async function until(predicate) {
  for (const end = Date.now() + PATIENCE; !predicate(); ) {
    assert.ok(Date.now() < end, predicate.toString())
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

for (const [name, { Socket }] of Object.entries(clients)) {
  describe(name, () => {
    const sockets = []
    afterEach(() => {
      for (const wire of Wire.all) wire.acceptAll() // no time-out remains
      sockets.splice(0).forEach((socket) => socket.disconnect())
    })

    function connected() {
      Wire.all = []
      const soon = { reconnectAfterMs: () => 1, rejoinAfterMs: () => 1 }
      const socket = new Socket("ws://host/socket", { transport: Wire, ...soon })
      sockets.push(socket)
      socket.connect()
      Wire.all[0].open()
      return [socket, Wire.all[0]]
    }

    /** A channel with a history that has begun to join, and what its handler and onGap got. */
    function joining(socket, params = History.params({ nick: "ann" })) {
      const channel = socket.channel("room:1", params)
      const seen = []
      const gaps = []
      const history = new History(channel, { onGap: (position) => gaps.push(position) })
      history.on("new_msg", ({ n }) => seen.push(n))
      history.on("frame", (data) => seen.push(...new Uint8Array(data)))
      channel.join()?.catch?.(() => {})
      return { channel, history, seen, gaps, params }
    }

    /** Cut the connection, let the next one open, and return it when the channel has begun to rejoin. */
    async function reconnected(wire) {
      wire.cut()
      const next = Wire.all.length
      await until(() => Wire.all.length > next)
      Wire.all[next].open()
      await until(() => Wire.all[next].joins().length === 1)
      return Wire.all[next]
    }

    test("the first join asks for positions, for the newest, or goes on from a stored position", () => {
      const asked = (...args) => {
        const [socket, wire] = connected()
        joining(socket, History.params(...args))
        wire.acceptAll()
        return wire.joins()[0][4]
      }
      assert.deepEqual(asked(), { history: {} })
      assert.deepEqual(asked({ nick: "ann" }, null), { nick: "ann", history: {} })
      assert.deepEqual(asked(() => ({ nick: "bo" }), { last: 50 }), { nick: "bo", history: { last: 50 } })
      const stored = JSON.parse(JSON.stringify(at(7)))
      assert.deepEqual(asked({}, stored), { history: { epoch: EPOCH, offset: 7 } })
    })

    test("a rejoin asks from the last one received, also while missed ones are still coming", async () => {
      const [socket, first] = connected()
      const { history, seen, gaps } = joining(socket, History.params({}, { last: 50 }))
      assert.equal(history.position, null)
      assert.deepEqual(first.answer({ offset: 2, count: 2 }), { history: { last: 50 } })
      assert.equal(history.position, null)
      for (const offset of [1, 2, 3]) first.broadcast(offset)
      assert.deepEqual(history.position, at(3))

      const second = await reconnected(first)
      assert.deepEqual(second.answer({ offset: 6, count: 3 }).history, at(3))
      const third = await reconnected(second)
      assert.deepEqual(third.answer({ offset: 7, count: 4 }).history, at(3))
      third.broadcast(4)
      third.broadcast(5)
      const fourth = await reconnected(third)
      assert.deepEqual(fourth.answer({ offset: 8, count: 3 }).history, at(5))
      for (const offset of [6, 7, 8, 9]) fourth.broadcast(offset)
      assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9])
      assert.deepEqual(history.position, at(9))
      assert.deepEqual(gaps, [])
    })

    test("nothing missed: the answer's position counts at once", async () => {
      const [socket, first] = connected()
      const { history, gaps } = joining(socket)
      first.answer({ offset: 1042 })
      assert.deepEqual(history.position, at(1042))
      const second = await reconnected(first)
      assert.deepEqual(second.answer({ offset: 1042 }), { nick: "ann", history: at(1042) })
      assert.deepEqual(gaps, [])
    })

    test("a cut before the first join is answered asks again what it asked", async () => {
      const [socket, first] = connected()
      joining(socket, History.params({}, { last: 9 }))
      const second = await reconnected(first)
      assert.deepEqual(second.joins()[0][4], { history: { last: 9 } })
    })

    test("onGap is called once the position is that of the answer", async () => {
      const [socket, first] = connected()
      const { history, seen, gaps } = joining(socket)
      first.answer({ offset: 5 })
      const second = await reconnected(first)
      second.answer({ offset: 2, recovered: false, epoch: OTHER })
      assert.deepEqual(gaps, [at(2, OTHER)])
      second.broadcast(3, OTHER)
      assert.deepEqual(seen, [3])
      assert.deepEqual(history.position, at(3, OTHER))
    })

    test("onGap is called for a stored position, and not for a first join without one", () => {
      const [socket, wire] = connected()
      const stored = joining(socket, History.params({}, at(7)))
      wire.answer({ offset: 900, recovered: false })
      assert.deepEqual([stored.gaps, stored.history.position], [[at(900)], at(900)])
      const [another, other] = connected()
      const fresh = joining(another, History.params({}, { last: 5 }))
      other.answer({ offset: 0, recovered: false, epoch: "" })
      assert.deepEqual(fresh.gaps, [])
    })

    test("after a join that found the store away, the next one is a gap", async () => {
      const [socket, first] = connected()
      const { gaps } = joining(socket)
      first.answer({ offset: 0, recovered: false, epoch: "" })
      first.text('[null,null,"room:1","new_msg",{"n":1}]')
      const second = await reconnected(first)
      assert.deepEqual(second.answer({ offset: 3, recovered: false }).history, { epoch: "", offset: 0 })
      assert.deepEqual(gaps, [at(3)])
    })

    test("doubles do not reach handlers; the same offset of another epoch does", () => {
      const [socket, wire] = connected()
      const { channel, history, seen } = joining(socket)
      const all = []
      channel.on("new_msg", ({ n }) => all.push(n))
      wire.answer({ offset: 4 })
      for (const offset of [3, 4, 5, 5, 4]) wire.broadcast(offset)
      wire.broadcast(5, OTHER)
      assert.deepEqual(seen, [5, 5])
      assert.deepEqual(all, [3, 4, 5, 5, 4, 5])
      assert.deepEqual(history.position, at(5, OTHER))
      wire.text('[null,null,"room:1","new_msg",{"n":99}]')
      assert.deepEqual([seen.at(-1), history.position], [99, at(5, OTHER)], "one that is not kept")
    })

    test("one of an earlier join, between a join and its answer, comes again and counts then", async () => {
      const [socket, first] = connected()
      const { history, seen, gaps } = joining(socket)
      first.answer({ offset: 1 })
      const joinRef = first.joins()[0][0]
      first.text(`["${joinRef}","${joinRef}","room:1","phx_error",{"reason":"channel_crash"}]`)
      await until(() => first.joins().length === 2)
      first.broadcast(9)
      assert.deepEqual([seen, history.position], [[], at(1)])
      assert.deepEqual(first.answer({ offset: 9, count: 8 }).history, at(1))
      for (let offset = 2; offset <= 9; offset++) first.broadcast(offset)
      assert.deepEqual([seen, gaps], [[2, 3, 4, 5, 6, 7, 8, 9], []])
    })

    test("the position of a binary broadcast counts when that has arrived", async () => {
      const [socket, first] = connected()
      const { history, seen } = joining(socket)
      first.answer({ offset: 1 })
      first.announce(2, "frame")
      first.binary("frame", 102)
      assert.deepEqual([seen, history.position], [[102], at(2)])
      first.announce(3, "frame")
      assert.deepEqual(history.position, at(2))
      const second = await reconnected(first)
      assert.deepEqual(second.answer({ offset: 3, count: 1 }).history, at(2))
      second.announce(3, "frame")
      second.binary("frame", 103)
      second.announce(3, "frame")
      second.binary("frame", 103)
      second.binary("frame", 0)
      assert.deepEqual([seen, history.position], [[102, 103, 0], at(3)])
    })

    test("an announcement is for the next broadcast only, and for its event", () => {
      const [socket, wire] = connected()
      const { history, seen } = joining(socket)
      wire.answer({ offset: 1 })
      wire.announce(2, "frame")
      wire.text('[null,null,"room:1","new_msg",{"n":0}]')
      wire.binary("frame", 7)
      assert.deepEqual([seen, history.position], [[0, 7], at(1)])
    })

    test("an announcement ends with its connection, also where there is no history any more", async () => {
      const [socket, first] = connected()
      const { seen } = joining(socket)
      first.answer({ offset: 1 })
      first.announce(2, "frame")
      const second = await reconnected(first)
      second.acceptAll()
      second.binary("frame", 7)
      assert.deepEqual(seen, [7])
    })

    test("one's own broadcast_from moves the position", async () => {
      const [socket, first] = connected()
      const { history } = joining(socket)
      first.answer({ offset: 1 })
      first.text(`[null,null,"room:1","history_position",{"epoch":"${EPOCH}","offset":2}]`)
      assert.deepEqual(history.position, at(2))
      const second = await reconnected(first)
      assert.deepEqual(second.joins()[0][4].history, at(2))
    })

    test("a reply's ref is no position", () => {
      const [socket, wire] = connected()
      const { channel, history } = joining(socket)
      wire.answer({ offset: 1 })
      const pushed = channel.push("new_msg", {})
      pushed.catch?.(() => {})
      const [joinRef, ref] = wire.sent.at(-1)
      wire.text(`["${joinRef}","${ref}","room:1","phx_reply",{"status":"ok","response":{}}]`)
      assert.deepEqual(history.position, at(1))
    })

    test("a later channel with the same params goes on from the position", async () => {
      const [socket, wire] = connected()
      const before = joining(socket)
      wire.answer({ offset: 1 })
      wire.broadcast(2)
      before.channel.leave()
      const [, leaveRef] = wire.sent.at(-1)
      const after = joining(socket, before.params)
      const [joinRef] = wire.joins()[0]
      wire.text(`["${joinRef}","${leaveRef}","room:1","phx_reply",{"status":"ok","response":{}}]`)
      assert.deepEqual(wire.answer({ offset: 4, count: 2 }), { nick: "ann", history: at(2) })
      for (const offset of [3, 4, 5]) wire.broadcast(offset)
      assert.deepEqual([before.seen, after.seen], [[2], [3, 4, 5]])
      assert.deepEqual(after.history.position, at(5))
    })

    test("a channel without History.params, or with those of another topic, is an error", () => {
      const [socket] = connected()
      const wanted = { message: "make room:1 with socket.channel(topic, History.params(params))" }
      assert.throws(() => new History(socket.channel("room:1", { nick: "ann" })), wanted)
      assert.throws(() => new History(socket.channel("room:1")), wanted)
      const params = History.params()
      new History(socket.channel("room:1", params))
      assert.throws(() => new History(socket.channel("room:2", params)), /params of room:2 are those of room:1/)
    })

    test("the application's own onMessage still replaces payloads", () => {
      const [socket, wire] = connected()
      const channel = socket.channel("room:1", History.params())
      const refs = []
      channel.onMessage = function (event, payload, ref) {
        assert.equal(this, channel)
        if (event !== "new_msg") return payload
        refs.push(ref)
        return { n: payload.n * 10 }
      }
      const history = new History(channel)
      const seen = []
      history.on("new_msg", ({ n }) => seen.push(n))
      channel.join()?.catch?.(() => {})
      wire.answer({ offset: 1 })
      wire.broadcast(2)
      assert.deepEqual([seen, refs, history.position], [[20], [`${EPOCH}:2`], at(2)])
    })

    test("off removes one handler", () => {
      const [socket, wire] = connected()
      const { history, seen } = joining(socket)
      const others = []
      const ref = history.on("new_msg", ({ n }) => others.push(n))
      wire.answer({ offset: 1 })
      wire.broadcast(2)
      history.off("new_msg", ref)
      wire.broadcast(3)
      assert.deepEqual([others, seen], [[2], [2, 3]])
    })

    test("a double stays one although a handler before has left the channel", () => {
      const [socket, wire] = connected()
      const channel = socket.channel("room:1", History.params())
      const history = new History(channel)
      const seen = []
      channel.on("new_msg", () => channel.leave())
      history.on("new_msg", ({ n }) => seen.push(n))
      channel.join()?.catch?.(() => {})
      wire.answer({ offset: 4 })
      wire.broadcast(4)
      assert.deepEqual(seen, [])
    })
  })
}
