// A page that chats with the C program, which is in the lobby as Cé: node chat_with_c.mjs URL
import assert from "node:assert/strict"
import { launch } from "./launch.mjs"

const [url] = process.argv.slice(2)
const chrome = await launch()
try {
  const page = await (await chrome.newContext()).newPage()
  page.setDefaultTimeout(240000)
  const problems = []
  page.on("pageerror", (error) => problems.push(error.message))
  const says = (text) => page.waitForSelector(`#messages .message[data-user="Cé"] >> text="${text}"`)

  await page.goto(`${url}/?name=Ana#room=lobby`)
  await page.waitForSelector('#people [data-user="Cé"]')
  console.log("sees Cé")
  await says("hello from <C>")
  console.log("said hello from <C>")
  await page.fill("#message", "hello from the page")
  await page.click("#send")
  await says("bye")
  console.log("said bye")
  await page.close()
  assert.deepEqual(problems, [])
} finally {
  await chrome.close()
}
