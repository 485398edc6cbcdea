// clients/js/presence.js: the same as phoenix.js's Presence, whatever the server says.
import assert from "node:assert/strict"
import { createRequire } from "node:module"
import { test } from "node:test"
import { Presence } from "../../../clients/js/presence.js"

const theirs = createRequire(new URL("../package.json", import.meta.url))("phoenix").Presence

class Channel {
  events = new Map()
  on(event, callback) {
    this.events.set(event, callback)
  }
  onError(callback) {
    this.crash = callback
  }
  say(event, payload) {
    this.events.get(event)(structuredClone(payload))
  }
}

function made(options) {
  const channel = new Channel()
  const presence = new Presence(channel, options)
  const told = []
  presence.onJoin((key, before, joined) => told.push(["join", key, before?.metas.length ?? 0, joined.metas.length]))
  presence.onLeave((key, now, left) => told.push(["leave", key, now.metas.length, left.metas.length]))
  presence.onSync(() => told.push(["sync"]))
  return { channel, presence, told, here: () => Object.fromEntries(presence.list((key, { metas }) => [key, metas.map(({ phx_ref }) => phx_ref)])) }
}

const metas = (...refs) => ({ metas: refs.map((phx_ref) => ({ phx_ref })) })

test("state, then diffs; a key goes with its last meta", () => {
  const { channel, told, here } = made()
  channel.say("presence_state", { ana: metas("1"), bo: metas("2") })
  channel.say("presence_diff", { joins: { ana: metas("3") }, leaves: {} })
  assert.deepEqual(here(), { ana: ["1", "3"], bo: ["2"] })
  channel.say("presence_diff", { joins: {}, leaves: { ana: metas("1"), bo: metas("2"), cy: metas("9") } })
  assert.deepEqual(here(), { ana: ["3"] })
  assert.deepEqual(told, [
    ["join", "ana", 0, 1], ["join", "bo", 0, 1], ["sync"],
    ["join", "ana", 1, 1], ["sync"],
    ["leave", "ana", 1, 1], ["leave", "bo", 0, 1], ["sync"],
  ])
})

test("diffs before the state wait for it, also after a crash", () => {
  const { channel, here } = made()
  channel.say("presence_diff", { joins: { ana: metas("1") }, leaves: {} })
  assert.deepEqual(here(), {})
  channel.say("presence_state", { bo: metas("2") })
  assert.deepEqual(here(), { bo: ["2"], ana: ["1"] })
  channel.crash()
  channel.say("presence_diff", { joins: {}, leaves: { bo: metas("2") } })
  assert.deepEqual(here(), { bo: ["2"], ana: ["1"] })
  channel.say("presence_state", { bo: metas("2"), cy: metas("3") })
  assert.deepEqual(here(), { cy: ["3"] })
})

test("a diff that waited for the state of an earlier join leaves no ghost", () => {
  const { channel, here } = made()
  channel.say("presence_diff", { joins: { ghost: metas("1") }, leaves: {} })
  channel.crash() // the connection is cut before the state
  channel.say("presence_diff", { joins: { bo: metas("2") }, leaves: { ana: metas("0") } })
  channel.say("presence_state", { ana: metas("0") })
  assert.deepEqual(here(), { bo: ["2"] })
  channel.say("presence_state", { bo: metas("2") }) // once more
  assert.deepEqual(here(), { bo: ["2"] })
  channel.say("presence_diff", { leaves: { nobody: metas("7") } })
  channel.say("presence_diff", { joins: { bo: metas("3") } })
  assert.deepEqual(here(), { bo: ["2", "3"] })
})

test("an update is a join and a leave of one key, which stays", () => {
  const { channel, told, here } = made()
  channel.say("presence_state", { ana: metas("1") })
  channel.say("presence_diff", { joins: { ana: metas("2") }, leaves: { ana: metas("1") } })
  assert.deepEqual(here(), { ana: ["2"] })
  assert.deepEqual(told.filter(([what]) => what === "leave"), [["leave", "ana", 1, 1]])
})

test("events may have other names, and keys be anything", () => {
  const { channel, presence } = made({ events: { state: "s", diff: "d" } })
  channel.say("s", JSON.parse('{"__proto__": {"metas": [{"phx_ref": "1"}]}, "constructor": {"metas": [{"phx_ref": "2"}]}}'))
  assert.deepEqual([...presence.state.keys()], ["__proto__", "constructor"])
})

test("the same as phoenix.js for a thousand random stories", () => {
  let seed = 7
  const chance = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below
  for (let story = 0; story < 1000; story++) {
    const { channel, here } = made()
    let expected = {}
    let ref = 0
    const some = () => {
      const made = {}
      for (let n = chance(4); n > 0; n--) made[`k${chance(3)}`] = metas(String(chance(4) ? ++ref : chance(ref + 1)))
      return made
    }
    const first = some()
    channel.say("presence_state", first)
    expected = theirs.syncState(expected, structuredClone(first))
    for (let step = chance(12); step > 0; step--) {
      if (chance(6) === 0) {
        const state = some()
        channel.say("presence_state", state)
        expected = theirs.syncState(expected, structuredClone(state))
      } else {
        const diff = { joins: some(), leaves: some() }
        channel.say("presence_diff", diff)
        expected = theirs.syncDiff(expected, structuredClone(diff))
      }
    }
    const wanted = Object.fromEntries(theirs.list(expected, (key, { metas }) => [key, metas.map(({ phx_ref }) => phx_ref)]))
    assert.deepEqual(here(), wanted)
  }
})
