// Two pages in a real browser, through two gateways: node chat.mjs URL URL [SCREENSHOT-DIRECTORY]
// Reads a line on stdin after printing "kill a worker", then shows that both pages go on.
import assert from "node:assert/strict"
import { join } from "node:path"
import { createInterface } from "node:readline/promises"
import { launch } from "./launch.mjs"

const [a, b, screenshots] = process.argv.slice(2)
const chrome = await launch()
const browser = await chrome.newContext({ viewport: { width: 1100, height: 720 } })
browser.setDefaultTimeout(240000)
const problems = []

async function open(url, name) {
  const page = await browser.newPage()
  page.on("pageerror", (error) => problems.push(error.message))
  await page.goto(url)
  await page.fill("#name", name)
  await page.press("#name", "Enter")
  await page.waitForSelector("#status[data-state=open]")
  return page
}

const says = (user, body) => `#messages .message[data-user="${user}"] >> text="${body}"`

/** Say it; again if the page tells that it was not sent, because a worker died under it. */
async function say(page, body) {
  const settled = (text) => {
    const own = [...document.querySelectorAll("#messages .message.own .body")]
    if (own.some((each) => each.textContent === text)) return "sent"
    return document.querySelector("#problem").textContent && "failed"
  }
  for (let tries = 0; tries < 5; tries++) {
    await page.fill("#message", body)
    await page.click("#send")
    const result = await (await page.waitForFunction(settled, body)).jsonValue()
    if (result === "sent") return
    await page.evaluate(() => (document.querySelector("#problem").textContent = ""))
  }
  throw new Error(`not sent: ${body}`)
}

async function stillHere(page, name) {
  for (let tries = 0; tries < 24; tries++) { // the worker with the history's copy may have died before the new one had it
    await say(page, `${name} is still here ${tries}`)
    const both = [ana, bo].map((each) => each.waitForSelector(says(name, `${name} is still here ${tries}`), { state: "attached", timeout: 5000 }))
    if ((await Promise.allSettled(both)).every(({ status }) => status === "fulfilled")) return
  }
  throw new Error(`the other page does not hear ${name}`)
}

async function both(selector) {
  for (const page of [ana, bo]) await page.waitForSelector(selector, { state: "attached" })
}

const ana = await open(a, "Ana")
const bo = await open(b, "Bo <b>")

const cy = await browser.newPage()
cy.on("pageerror", (error) => problems.push(error.message))
await cy.goto(`${b}/?name=Cy#room=kitchen`)
await cy.waitForSelector("#status[data-state=open]")
await cy.waitForSelector('#rooms [data-room="kitchen"][aria-current="true"]')
await cy.waitForSelector('#people [data-user="Cy"]')
await cy.close()
await both('#people [data-user="Ana"]')
await both('#people [data-user="Bo <b>"]')

await bo.focus("#message")
const seen = ana.waitForSelector("#typing >> text=Bo <b> is typing") // it is shown for a short time only
await bo.keyboard.type("hello", { delay: 5 })
await seen
await bo.keyboard.press("Enter")
await both(says("Bo <b>", "hello"))
await say(ana, "hi <script>alert(1)</script>")
await both(says("Ana", "hi <script>alert(1)</script>"))
assert.equal(await ana.locator(".message.own").count(), 1)

await ana.fill("#new-room", "attic")
await ana.press("#new-room", "Enter")
await say(bo, "still in the lobby")
await ana.waitForSelector('#rooms [data-room="lobby"] .unread')
await ana.click('#rooms [data-room="lobby"]')
await ana.waitForSelector(says("Bo <b>", "still in the lobby"))

if (screenshots) {
  await ana.screenshot({ path: join(screenshots, "desktop.png") })
  await ana.emulateMedia({ colorScheme: "dark" })
  await ana.screenshot({ path: join(screenshots, "desktop-dark.png") })
  await bo.setViewportSize({ width: 390, height: 844 })
  await bo.screenshot({ path: join(screenshots, "phone.png") })
  await bo.click("#menu")
  await bo.waitForTimeout(300)
  await bo.screenshot({ path: join(screenshots, "phone-menu.png") })
  await bo.keyboard.press("Escape")
  const door = await browser.newPage()
  await door.setViewportSize({ width: 390, height: 844 })
  await door.goto(a)
  await door.screenshot({ path: join(screenshots, "door.png") })
  await door.close()
}

const input = createInterface({ input: process.stdin })
console.log("kill a worker")
await input.question("")
for (const [page, name] of [[ana, "Ana"], [bo, "Bo <b>"]]) {
  await stillHere(page, name)
}
await both('#people [data-user="Ana"]')
await both('#people [data-user="Bo <b>"]')
await ana.close()
await bo.waitForFunction(() => !document.querySelector('#people [data-user="Ana"]'))
assert.deepEqual(problems, [])
await chrome.close()
process.exit(0)
