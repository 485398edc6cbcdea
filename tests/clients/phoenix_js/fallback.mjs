// A server behind something that lets no WebSocket through: phoenix.js goes over to long-poll by itself.
import { answer, assert, connect, join, next, run, until, WebSocket } from "./harness.mjs"

async function it_falls_back_and_remembers() {
  const stored = new Map()
  const sessionStorage = { getItem: (key) => stored.get(key) ?? null, setItem: (key, value) => stored.set(key, value) }
  const socket = connect(undefined, {}, { longPollFallbackMs: 2000, sessionStorage, transport: WebSocket })
  const channel = await join(socket, "room:fallback")
  assert.deepEqual(await answer(channel.push("echo", { n: 1 })), ["ok", { n: 1 }])
  const pushed = next(channel, "pushed")
  channel.push("push_me", { n: 2 })
  assert.deepEqual(await pushed, { n: 2 })
  await until(() => stored.size === 1)
  assert.deepEqual([...stored.keys()], ["phx:fallback:LongPoll"])
}

await run([it_falls_back_and_remembers])
