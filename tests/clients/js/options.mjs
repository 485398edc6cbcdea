// clients/js's authToken, nested params and msgpack against tests.support.mounts_app: node options.mjs URL. Ends by itself.
import { decode, encode } from "@msgpack/msgpack"
import assert from "node:assert/strict"
import WebSocket from "ws"
import { Socket } from "../../../clients/js/channelmesh.js"

const url = process.argv[2]

async function told(path, options) {
  const socket = new Socket(`${url}${path}`, { transport: WebSocket, ...options })
  socket.connect()
  const channel = socket.channel("info:1")
  await channel.join()
  const { uri, auth_token, user } = await channel.push("me")
  socket.disconnect()
  return { uri, auth_token, user }
}

const authToken = await (await fetch(`${url}/get_token?user=ana`)).text()
assert.equal((await told("/token", { authToken: () => authToken })).user, "ana")
const forged = new Socket(`${url}/token`, { transport: WebSocket, authToken: authToken.slice(0, -2) })
const failed = new Promise((resolve) => forged.onError(resolve))
forged.connect()
await failed
forged.disconnect()

const { uri } = await told("/any", { params: { a: { b: ["ü", 1] } } })
assert.equal(decodeURIComponent(new URL(uri, url).search), "?a[b][0]=ü&a[b][1]=1&vsn=2.0.0")

const msgpack = { params: { format: "msgpack" }, encode, decode: (data) => decode(new Uint8Array(data)) }
assert.match((await told("/any", msgpack)).uri, /format=msgpack/)
