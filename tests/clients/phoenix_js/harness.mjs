// What the scripts share: the real phoenix.js over the real WebSocket of `ws`, promises, assertions.
// node SCRIPT PACKAGE URL [URL]: PACKAGE is phoenix, phoenix-1-8-6, phoenix-1-7 or phoenix-1-6. LONGPOLL=1: by long-poll.
// ZEROMQ="ADDRESS ADDRESS": over plain ZeroMQ, to the gateway at the first address for the first URL, and so on.
import assert from "node:assert/strict"
import { createRequire } from "node:module"
import WebSocket from "ws"

/** Seconds that a check waits for other processes, and one that does much; as in tests/support/until.py. */
export const PATIENCE = 240
export const LONG = 500

const [name, a, b = a] = process.argv.slice(2)
// phoenix.js up to 1.7 looks for a browser's globals; the CommonJS build works in all releases.
const require = createRequire(import.meta.url)
if (["phoenix-1-7", "phoenix-1-6"].includes(name)) { // before 2025 it expected a browser's globals
  globalThis.self = globalThis
  globalThis.XMLHttpRequest = require("xhr2")
}
const { Socket, LongPoll, Presence } = require(name)
export const overLongPoll = Boolean(process.env.LONGPOLL)
const addresses = process.env.ZEROMQ?.split(" ")
const zeromq = addresses && (await import("channelmesh-node"))
export const release = name

export { assert, Presence, Socket, WebSocket }
export const urls = [a, b]
export const httpUrl = a

const sockets = []

/** Where the gateway of that URL is, and the transport that goes there. */
function way(url) {
  if (!zeromq) return [url.replace(/^http/, "ws") + "/socket", overLongPoll ? LongPoll : WebSocket]
  const address = addresses[urls.indexOf(url)] ?? addresses[0]
  if (address.startsWith("tcp:")) return [`${address}/socket`, zeromq.ZeroMQTransport]
  return ["zeromq:/socket", zeromq.zeromqTransport({ address })]
}

export function connect(base = a, params = {}, options = {}) {
  const [endPoint, transport] = way(base)
  const socket = new Socket(endPoint, {
    transport,
    params,
    timeout: PATIENCE * 1000,
    ...options,
  })
  socket.connect()
  sockets.push(socket)
  return socket
}

/** Resolves with [status, response] of a join or a push. */
export function answer(push) {
  return new Promise((resolve, reject) => {
    for (const status of ["ok", "error"]) push.receive(status, (response) => resolve([status, response]))
    push.receive("timeout", () => reject(new Error("timeout")))
  })
}

export async function join(socket, topic, params = {}) {
  const channel = socket.channel(topic, params)
  assert.deepEqual((await answer(channel.join()))[0], "ok", topic)
  return channel
}

/** Resolves with the next payload of `event`. */
export function next(channel, event, seconds = PATIENCE) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} within ${seconds} s`)), seconds * 1000)
    const ref = channel.on(event, (payload) => {
      clearTimeout(timer)
      channel.off(event, ref)
      resolve(payload)
    })
  })
}

export async function until(predicate, seconds = PATIENCE, what = predicate.toString()) {
  const end = Date.now() + seconds * 1000
  while (!predicate()) {
    if (Date.now() > end) throw new Error(`not true within ${seconds} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Runs the named checks one after the other; the exit code says whether all held. */
export async function run(checks) {
  for (const check of checks) {
    try {
      await check()
      console.log(`ok   ${check.name}`)
    } catch (error) {
      console.log(`FAIL ${check.name}: ${error.stack}`)
      process.exit(1)
    }
    for (const socket of sockets.splice(0)) socket.disconnect()
  }
  process.exit(0)
}
