// A handler that broadcasts and then replies: its own client sees the broadcast first. Against tests.support.apps.
import { answer, assert, connect, join, run, until, urls } from "./harness.mjs"

async function the_broadcast_comes_before_the_reply() {
  const channel = await join(connect(urls[0]), "order:js")
  const seen = []
  channel.on("first", ({ n }) => seen.push(`broadcast ${n}`))
  for (let n = 0; n < 500; n++) {
    await answer(channel.push("both", { n }))
    seen.push(`reply ${n}`)
  }
  const expected = Array.from({ length: 500 }, (_, n) => [`broadcast ${n}`, `reply ${n}`]).flat()
  assert.deepEqual(seen, expected)
}

async function a_slow_join_is_left_and_joined_again_by_the_client_itself() {
  const socket = connect(urls[0])
  const channel = socket.channel("slow:js", () => ({ seconds: attempts++ ? 0 : 0.6 }))
  let attempts = 0
  channel.rejoinTimer.timerCalc = () => 10
  const joined = new Promise((resolve) => channel.join(150).receive("ok", resolve))
  await joined
  assert.deepEqual(await answer(channel.push("echo", { n: 1 })), ["ok", { n: 1 }])
}

async function what_follows_a_join_comes_after_its_answer() {
  const other = []
  const watching = await join(connect(urls[1]), "after:js")
  for (const event of ["from_join", "broadcast_after_join"]) watching.on(event, () => other.push(event))
  const seen = []
  const channel = connect(urls[0]).channel("after:js", { n: 1 })
  for (const event of ["from_join", "pushed_after_join", "broadcast_after_join"]) {
    channel.on(event, () => seen.push(event))
  }
  channel.join().receive("ok", () => seen.push("joined"))
  await until(() => seen.length >= 3)
  assert.deepEqual(seen, ["joined", "pushed_after_join", "broadcast_after_join"])
  // the first may be what its own join broadcast
  await until(() => other.slice(-2).join() === "from_join,broadcast_after_join")
}

await run([
  the_broadcast_comes_before_the_reply,
  a_slow_join_is_left_and_joined_again_by_the_client_itself,
  what_follows_a_join_comes_after_its_answer,
])
