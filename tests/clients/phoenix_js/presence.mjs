// phoenix.js's own Presence class, several users through both gateways.
import { assert, connect, overLongPoll, PATIENCE, Presence, release, run, until, urls } from "./harness.mjs"

// A long-poll client's end shows only by its silence: what another run left must not count here.
const topic = (name) => `presence:${name}:${process.pid}`

async function present(url, topic, userId) {
  const socket = connect(url, { user_id: userId })
  const channel = socket.channel(topic, {})
  const presence = new Presence(channel)
  const seen = { joins: [], leaves: [] }
  presence.onJoin((id, current) => current || seen.joins.push(id))
  presence.onLeave((id, current) => current.metas.length || seen.leaves.push(id))
  await new Promise((resolve, reject) => {
    channel.join().receive("ok", resolve).receive("error", (reason) => reject(new Error(JSON.stringify(reason))))
  })
  const here = () => presence.list((id, { metas }) => `${id} ${metas.length}`).sort()
  return { socket, channel, presence, seen, here }
}

async function everybody_sees_everybody_come_and_go() {
  const all = []
  for (let n = 0; n < 6; n++) all.push(await present(urls[n % 2], topic("all"), `u${n}`))
  const names = all.map((_, n) => `u${n} 1`)
  for (const each of all) await until(() => String(each.here()) === String(names), PATIENCE, `${names}`)
  const [meta] = all[0].presence.state.u3.metas
  assert.equal(typeof meta.online_at, "number")
  assert.equal(meta.phx_ref.length, 16)
  all[5].channel.leave()
  all[4].socket.disconnect()
  for (const each of all.slice(0, 4)) {
    await until(() => String(each.here()) === String(names.slice(0, 4)))
    assert.deepEqual(each.seen.leaves.sort(), ["u4", "u5"])
  }
}

async function one_user_with_two_tabs_is_there_until_the_last_is_closed() {
  const watcher = await present(urls[0], topic("tabs"), "watcher")
  const one = await present(urls[0], topic("tabs"), "ana")
  const two = await present(urls[1], topic("tabs"), "ana")
  await until(() => String(watcher.here()) === "ana 2,watcher 1")
  one.channel.leave()
  await until(() => String(watcher.here()) === "ana 1,watcher 1")
  assert.deepEqual(watcher.seen.leaves, [])
  two.channel.leave()
  await until(() => String(watcher.here()) === "watcher 1")
  assert.deepEqual(watcher.seen.leaves, ["ana"])
}

async function after_a_rejoin_the_state_is_whole_again() {
  const one = await present(urls[0], topic("again"), "ana")
  const two = await present(urls[1], topic("again"), "bo")
  await until(() => String(one.here()) === "ana 1,bo 1")
  for (let round = 0; round < (overLongPoll ? 1 : 5); round++) {
    const before = one.presence.state.ana.metas[0].phx_ref
    // Its callback tells when connect() is heard again: within 150 ms of a disconnect, 1.8.6 may ignore it.
    await new Promise((resolve) => one.socket.disconnect(resolve))
    await until(() => String(two.here()) === "bo 1")
    one.socket.connect()
    await until(() => one.channel.state === "joined")
    await until(() => one.presence.state.ana?.metas[0].phx_ref !== before)
    for (const each of [one, two]) await until(() => String(each.here()) === "ana 1,bo 1")
  }
}

async function a_key_may_be_any_string() {
  const names = ["ünï 🎉", "a.b[c]", "1", "x".repeat(300)]
  if (release === "phoenix") names.push("__proto__", "constructor") // a bug of older releases
  const all = []
  for (const name of names) all.push(await present(urls[all.length % 2], topic("keys"), name))
  const expected = String(names.map((name) => `${name} 1`).sort())
  for (const each of all) await until(() => String(each.here()) === expected)
}

await run([
  everybody_sees_everybody_come_and_go,
  one_user_with_two_tabs_is_there_until_the_last_is_closed,
  after_a_rejoin_the_state_is_whole_again,
  a_key_may_be_any_string,
])
