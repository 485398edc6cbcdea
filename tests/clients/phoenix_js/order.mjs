// A handler that broadcasts and then replies: its own client sees the broadcast first. Against tests.support.apps.
import { answer, assert, connect, join, run, urls } from "./harness.mjs"

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

await run([the_broadcast_comes_before_the_reply, a_slow_join_is_left_and_joined_again_by_the_client_itself])
