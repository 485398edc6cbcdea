// A page that chats with a Node program: node node_chat.mjs URL. Prints what it waits for.
import assert from "node:assert/strict"
import { launch } from "./launch.mjs"

const chrome = await launch()
const page = await chrome.newPage()
page.setDefaultTimeout(240000)
const problems = []
page.on("pageerror", (error) => problems.push(error.message))
const seen = (user, body) => page.waitForSelector(`#messages .message[data-user="${user}"] >> text="${body}"`)

await page.goto(`${process.argv[2]}/?name=Bo#room=lobby`)
await page.waitForSelector('#people [data-user="Ana"]')
await page.waitForSelector('#people [data-user="Bo"]')
await page.fill("#message", "hello from the page")
await page.click("#send")
console.log("say hello")
await seen("Ana", "hello from Node")
console.log("broadcast")
await seen("Bus", "hello from the bus")
assert.deepEqual(problems, [])
await chrome.close()
