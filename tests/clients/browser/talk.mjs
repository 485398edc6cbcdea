// One page in a real browser, as Bo: says hello, waits until "hi from Python" has come.
// node talk.mjs URL ROOM
import assert from "node:assert/strict"
import { launch } from "./launch.mjs"

const [url, room] = process.argv.slice(2)
const chrome = await launch()
const page = await (await chrome.newContext()).newPage()
page.setDefaultTimeout(240000)
await page.goto(`${url}/?name=Bo#room=${room}`)
await page.waitForSelector("#status[data-state=open]")
await page.waitForSelector('#people [data-user="Ana"]', { state: "attached" })
await page.fill("#message", "hello")
await page.click("#send")
await page.waitForSelector('#messages .message[data-user="Ana"] >> text="hi from Python"', { state: "attached" })
assert.equal(await page.locator('#messages .message[data-user="Bo"]').count(), 1)
await chrome.close()
process.exit(0)
