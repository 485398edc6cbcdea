// phoenix.js in a page of a server that no WebSocket reaches: node fallback.mjs URL
import assert from "node:assert/strict"
import { launch } from "./launch.mjs"

const [url] = process.argv.slice(2)
const chrome = await launch()
try {
  const page = await (await chrome.newContext()).newPage()
  page.setDefaultTimeout(240000)
  await page.goto(url)
  await page.waitForFunction(() => window.phoenix)
  const result = await page.evaluate(async () => {
    const socket = new window.phoenix.Socket("/socket", { longPollFallbackMs: 2000, params: { user_id: "ana" } })
    socket.connect()
    const channel = socket.channel("presence:page")
    const presence = new window.phoenix.Presence(channel)
    const synced = new Promise((resolve) => presence.onSync(resolve))
    const joined = await new Promise((resolve, reject) => {
      channel.join().receive("ok", resolve).receive("error", reject)
    })
    await synced
    return {
      joined,
      here: presence.list((id) => id),
      remembered: sessionStorage.getItem("phx:fallback:LongPoll"),
      transport: socket.transport.name,
    }
  })
  assert.deepEqual(result.joined, {})
  assert.deepEqual(result.here, ["ana"])
  assert.equal(result.remembered, "true")
} finally {
  await chrome.close()
}
