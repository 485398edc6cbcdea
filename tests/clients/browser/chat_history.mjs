// The history of the chat in a real browser: node chat_history.mjs URL URL
// Ana's page uses the first gateway; Bo's page uses the second one, through a relay that this script cuts.
// Reads a line on stdin after printing "kill all workers"; then what Bo has missed cannot be recovered.
import assert from "node:assert/strict"
import { connect, createServer } from "node:net"
import { createInterface } from "node:readline/promises"
import { launch } from "./launch.mjs"

const [a, b] = process.argv.slice(2)
const ROOM = "#room=attic"
const chrome = await launch()
const problems = []

/** Relays connections to a server, until they are cut; then it refuses new ones until `restore`. */
class Relay {
  #connections = new Set()
  #server

  constructor(url) {
    const { hostname, port } = new URL(url)
    this.#server = createServer((client) => {
      const server = connect(port, hostname)
      for (const [from, to] of [[client, server], [server, client]]) {
        from.pipe(to)
        from.on("error", () => to.destroy())
        from.on("close", () => to.destroy())
        this.#connections.add(from)
      }
    })
  }

  restore(port = this.port) {
    return new Promise((listening) => this.#server.listen(port, "127.0.0.1", () => listening((this.port = this.#server.address().port))))
  }

  cut() {
    this.#server.close()
    for (const connection of this.#connections) connection.destroy()
    this.#connections.clear()
  }
}

async function open(url, name) {
  const context = await chrome.newContext()
  context.setDefaultTimeout(240000)
  const page = await context.newPage()
  page.on("pageerror", (error) => problems.push(error.message))
  await page.goto(`${url}/${ROOM}`)
  await page.fill("#name", name)
  await page.press("#name", "Enter")
  await page.waitForSelector("#status[data-state=open]")
  return page
}

const shown = (page) => page.locator("#messages > li .body, #messages > li.gap").allTextContents()

async function say(page, body) {
  await page.fill("#message", body)
  await page.click("#send")
  await page.waitForFunction((text) => [...document.querySelectorAll(".own .body")].at(-1)?.textContent === text, body)
}

/** Wait until the last message is `texts.at(-1)`; then the page must show exactly these. */
async function shows(page, texts) {
  await page.waitForFunction((text) => document.querySelector("#messages > li:last-child .body")?.textContent === text, texts.at(-1))
  assert.deepEqual(await shown(page), texts)
}

const said = []
async function sayAll(page, ...bodies) {
  for (const body of bodies) {
    await say(page, body)
    said.push(body)
  }
}

const ana = await open(a, "Ana")
await sayAll(ana, ...Array.from({ length: 60 }, (_, number) => `message ${number}`))

const relay = new Relay(b)
const port = await relay.restore(0)
const bo = await open(`http://localhost:${port}`, "Bo")
await shows(bo, said.slice(-50))
await sayAll(bo, "this is mine")

// A reload shows the last messages, and whose they are.
await bo.reload()
await shows(bo, said.slice(-50))
assert.deepEqual(await bo.locator(".message.own .body").allTextContents(), ["this is mine"])
assert.equal(await bo.locator(".unread").count(), 0)
const seen = said.length - 50

// What is said while Bo has no connection comes when it returns, once and in order.
for (let cut = 0; cut < 5; cut++) {
  relay.cut()
  const returning = bo.waitForSelector("#status:not([data-state=open])").then(() => relay.restore())
  await sayAll(ana, ...Array.from({ length: 8 }, (_, number) => `cut ${cut}, message ${number}`))
  await returning
  await bo.waitForSelector("#status[data-state=open]")
  await sayAll(ana, `after cut ${cut}`)
  await shows(bo, said.slice(seen))
}

// When it is not there any more, the page says so.
relay.cut()
await bo.waitForSelector("#status:not([data-state=open])")
const input = createInterface({ input: process.stdin })
console.log("kill all workers")
await input.question("")
await relay.restore()
await bo.waitForSelector("#messages > li.gap")
await bo.waitForSelector("#status[data-state=open]")
await ana.waitForSelector("#messages > li.gap") // its channel has crashed with its worker
for (let tries = 0; (await bo.locator(".message").last().textContent()).indexOf("hello again") < 0; tries++) {
  assert.ok(tries < 100)
  await ana.fill("#message", "hello again")
  await ana.click("#send")
  await bo.waitForSelector(".message >> text=hello again", { timeout: 3000 }).catch(() => {})
}
assert.equal((await shown(bo))[said.length - seen], "Messages may be missing here")
assert.deepEqual(problems, [])
await chrome.close()
process.exit(0)
