// phoenix.js's authToken, and its own encode and decode options with msgpack.
import { createRequire } from "node:module"
import { answer, assert, httpUrl, join, run, until, WebSocket } from "./harness.mjs"

const require = createRequire(import.meta.url)
const { Socket, LongPoll } = require("phoenix")
const { encode, decode } = require("@msgpack/msgpack")
const sockets = []

function open(path, options) {
  const socket = new Socket(httpUrl.replace(/^http/, "ws") + path, { transport: WebSocket, ...options })
  socket.connect()
  sockets.push(socket)
  return socket
}

async function a_token_of_the_server_opens_the_socket() {
  const authToken = await (await fetch(`${httpUrl}/get_token?user=ana`)).text()
  for (const transport of [WebSocket, LongPoll]) {
    const channel = await join(open("/token", { authToken, transport }), "info:1")
    assert.deepEqual(await answer(channel.push("me", {})), ["ok", { user: "ana" }])
  }
  let opened = 0
  let failed = 0
  const forged = open("/token", { authToken: authToken.slice(0, -2) })
  forged.onOpen(() => opened++)
  forged.onError(() => failed++)
  await until(() => failed >= 2)
  assert.equal(opened, 0)
  forged.disconnect()
}

async function msgpack_by_its_own_encode_and_decode() {
  const options = {
    params: { format: "msgpack" },
    encode: ({ join_ref, ref, topic, event, payload }, done) => done(encode([join_ref, ref, topic, event, payload])),
    decode: (data, done) => {
      const [join_ref, ref, topic, event, payload] = decode(new Uint8Array(data))
      done({ join_ref, ref, topic, event, payload })
    },
  }
  const channel = await join(open("/any", options), "info:1")
  const [status, info] = await answer(channel.push("me", { bytes: new Uint8Array([1, 2]) }))
  assert.equal(status, "ok")
  assert.equal(info.transport, "websocket")
  assert.deepEqual(info.extra, { region: "eu" })
  const gone = new Promise((resolve) => channel.onError(resolve))
  channel.push("unknown", {})
  await gone
  await until(() => channel.state === "joined")
}

await run([a_token_of_the_server_opens_the_socket, msgpack_by_its_own_encode_and_decode])
for (const socket of sockets) socket.disconnect()
