// clients/node's transport, and what may go wrong beneath it; the gateway is a ROUTER that the test holds.
import assert from "node:assert/strict"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, test } from "node:test"
import { ConnectionError, RefusedError, Socket, ZeroMQTransport, connect, zeromqTransport } from "channelmesh-node"
import { Router, curveKeyPair } from "zeromq"

const things = []
afterEach(() => things.splice(0).forEach((thing) => thing.close()))

/** A ROUTER; `next` gives [kind, content] of the next message and remembers who sent it. */
class Gateway {
  constructor(options) {
    this.router = new Router({ linger: 10000, mandatory: true, ...options })
  }

  static async at(address = "tcp://127.0.0.1:*", options = {}) {
    const gateway = new Gateway(options)
    await gateway.router.bind(address)
    gateway.address = gateway.router.lastEndpoint
    things.push(gateway)
    return gateway
  }

  async next() {
    const [identity, kind, content = ""] = await this.router.receive()
    this.client = identity
    return [String(kind), String(content)]
  }

  say(...frames) {
    return this.router.send([this.client, ...frames])
  }

  async open(seconds = 60) {
    const [kind, content] = await this.next()
    assert.equal(kind, "O")
    await this.say("O", JSON.stringify({ idle_timeout_seconds: seconds }))
    return JSON.parse(content)
  }

  close() {
    this.router.close()
  }
}

/** What happens to a transport, in order: type, and what matters of the event. */
function watched(transport) {
  things.push(transport)
  const seen = []
  const ended = new Promise((resolve) => {
    transport.onopen = () => seen.push(["open"])
    transport.onmessage = ({ data }) => seen.push(["message", typeof data === "string" ? data : [...new Uint8Array(data)]])
    transport.onerror = ({ error }) => seen.push(["error", error.name])
    transport.onclose = (event) => resolve(seen.push(["close", event.code]) && event)
  })
  return { transport, seen, ended }
}

const made = (gateway, options) => watched(new ZeroMQTransport(`${gateway.address}/socket/websocket?vsn=2.0.0`, undefined, options))

async function opened(options, seconds) {
  const gateway = await Gateway.at()
  const it = made(gateway, options)
  const open = once(it.transport, "open")
  await gateway.open(seconds)
  await open
  return { gateway, ...it }
}

test("it opens with the URL's path and parameters, nested as a WebSocket's query is", async () => {
  const gateway = await Gateway.at()
  const query = "user=a%20b+c&a[b][c]=1&a[b][d]=%3D&list[]=1&list[]=2&empty=&__proto__=x&vsn=2.0.0" +
    "&x[]=1&x[y]=2&y=1&y[]=2&z[][a]=1&z[][b]=2&[w]=1"
  watched(new ZeroMQTransport(`${gateway.address}/my/socket/websocket?${query}`))
  const { path, params } = await gateway.open()
  assert.equal(path, "/my/socket")
  const expected = '{"user":"a b c","a":{"b":{"c":"1","d":"="}},"list":["1","2"],"empty":"","__proto__":"x","vsn":"2.0.0",' +
    '"x":{"y":"2"},"y":["2"],"z":[{"a":"1","b":"2"}],"[w]":"1"}'
  assert.equal(JSON.stringify(params), expected)
})

test("the address may be an option, or an ipc path in the URL", async () => {
  const gateway = await Gateway.at(`ipc://${join(tmpdir(), randomUUID())}`)
  const { address } = gateway
  watched(new (zeromqTransport({ address }))("zeromq:/socket/websocket?vsn=2.0.0"))
  assert.equal((await gateway.open()).path, "/socket")
  watched(new ZeroMQTransport(`${address}:/other/websocket?vsn=2.0.0`))
  assert.equal((await gateway.open()).path, "/other")
})

test("text and bytes go both ways, and only once it is open", async () => {
  const gateway = await Gateway.at()
  const { transport, seen } = made(gateway)
  assert.throws(() => transport.send("early"), { name: "InvalidStateError" })
  const open = once(transport, "open")
  await gateway.open()
  await open
  transport.send("ü")
  transport.send(Uint8Array.of(0, 1, 2, 3).subarray(1, 3))
  const changed = Uint8Array.of(7)
  transport.send(changed.buffer)
  changed[0] = 8
  assert.throws(() => transport.send({}), TypeError)
  assert.deepEqual(await gateway.next(), ["T", "ü"])
  assert.deepEqual(await gateway.next(), ["B", "\x01\x02"])
  assert.deepEqual(await gateway.next(), ["B", "\x07"])
  await gateway.say("T", "€")
  await gateway.say("P", "")
  await gateway.say("P")
  await gateway.say("B", Uint8Array.of(255, 0))
  while (seen.length < 3) await once(transport, "message")
  assert.deepEqual(seen, [["open"], ["message", "€"], ["message", [255, 0]]])
})

test("a refusal is an error with status and reason, then a close", async () => {
  const gateway = await Gateway.at()
  const { transport, seen, ended } = made(gateway)
  const failed = once(transport, "error")
  await gateway.next()
  await gateway.say("R", '{"status":403,"reason":"no"}')
  const [{ error, message }] = await failed
  assert.ok(error instanceof RefusedError)
  assert.deepEqual([error.status, error.reason, message], [403, "no", "refused: 403 no"])
  assert.equal((await ended).wasClean, false)
  assert.deepEqual(seen, [["error", "RefusedError"], ["close", 1006]])
})

const GARBAGE = {
  "an unknown kind": ["X", "{}"],
  "an empty kind": ["", "{}"],
  "a long kind": ["O".repeat(100), "{}"],
  "the name of a method of objects": ["toString", "{}"],
  "three frames": ["O", "{}", "{}"],
  "O without JSON": ["O", "{not json"],
  "O with null": ["O", "null"],
  "O with an impossible time-out": ["O", '{"idle_timeout_seconds":-1}'],
  "O with a text for a time-out": ["O", '{"idle_timeout_seconds":"60"}'],
  "R without a status": ["R", "{}"],
  "C without a code": ["C", "[]"],
  "C without content": ["C"],
  "a message before O": ["T", "[]"],
  "bytes before O": ["B", "[]"],
}
for (const [name, frames] of Object.entries(GARBAGE)) {
  test(`garbage ends it with 1002: ${name}`, async () => {
    const gateway = await Gateway.at()
    const { seen, ended } = made(gateway)
    await gateway.next()
    await gateway.say(...frames)
    await ended
    assert.deepEqual(seen, [["error", "ConnectionError"], ["close", 1002]])
    assert.deepEqual(await gateway.next(), ["C", ""])
  })
}

test("a second O, or a refusal after all, is garbage too", async () => {
  for (const again of [["O", '{"idle_timeout_seconds":60}'], ["R", '{"status":403,"reason":""}']]) {
    const { gateway, ended } = await opened()
    await gateway.say(...again)
    assert.equal((await ended).code, 1002)
  }
})

test("text that is not UTF-8 ends it with 1007", async () => {
  const { gateway, seen, ended } = await opened()
  await gateway.say("T", Uint8Array.of(0xff, 0xfe))
  assert.equal((await ended).code, 1007)
  assert.deepEqual(seen.map(([type]) => type), ["open", "error", "close"])
})

test("bytes that are no ZeroMQ at all end it", async () => {
  const { createServer } = await import("node:net")
  const server = createServer((socket) => socket.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n".repeat(9)))
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  things.push(server)
  const { seen, ended } = made({ address: `tcp://127.0.0.1:${server.address().port}` })
  assert.ok([1002, 1006].includes((await ended).code)) // ZMTP 1.0 has no greeting: it may look like a message
  assert.deepEqual(seen.map(([type]) => type), ["error", "close"])
})

test("closed before it is open, it never opens", async () => {
  const gateway = await Gateway.at()
  const { transport, seen, ended } = made(gateway)
  await gateway.next()
  transport.close()
  assert.equal(transport.readyState, ZeroMQTransport.CLOSING)
  await gateway.say("O", '{"idle_timeout_seconds":60}')
  assert.equal((await ended).code, 1006)
  assert.deepEqual(seen, [["error", "ConnectionError"], ["close", 1006]])
  assert.deepEqual(await gateway.next(), ["C", ""])
})

test("closed in the tick in which it was made, with nobody there, it ends", async () => {
  const { transport, ended } = made({ address: "tcp://127.0.0.1:9" })
  transport.close()
  assert.equal((await ended).code, 1006)
})

test("close sends what was sent before, then C, and hears nothing more", async () => {
  const { gateway, transport, seen, ended } = await opened()
  for (let n = 0; n < 100; n++) transport.send(String(n))
  transport.close(4321, "enough")
  transport.close(1000)
  transport.send("too late")
  await gateway.say("T", "too late")
  const { code, reason, wasClean } = await ended
  assert.deepEqual([code, reason, wasClean], [4321, "enough", true])
  for (let n = 0; n < 100; n++) assert.deepEqual(await gateway.next(), ["T", String(n)])
  assert.deepEqual(await gateway.next(), ["C", ""])
  assert.deepEqual(seen, [["open"], ["close", 4321]])
  assert.equal(transport.readyState, ZeroMQTransport.CLOSED)
})

test("what has arrived when it is closed is not heard any more", async () => {
  const { gateway, transport, seen, ended } = await opened()
  const heard = transport.onmessage
  transport.onmessage = (event) => {
    heard(event)
    transport.close()
  }
  for (let n = 0; n < 50; n++) await gateway.say("T", String(n)).catch(() => {}) // it may be gone by now
  await ended
  assert.deepEqual(seen, [["open"], ["message", "0"], ["close", 1000]])
})

test("a client closes with a code that a client may use", async () => {
  const { transport } = await opened()
  assert.throws(() => transport.close(1012), { name: "InvalidAccessError" })
  assert.throws(() => transport.close(1000, "x".repeat(124)), { name: "SyntaxError" })
})

test("the gateway's code arrives although it is gone at once, and so does all that it said before", async () => {
  const { gateway, seen, ended } = await opened()
  for (let n = 0; n < 500; n++) await gateway.say("T", String(n))
  await gateway.say("C", '{"code":1012,"reason":"restart"}')
  gateway.close()
  const { code, reason, wasClean } = await ended
  assert.deepEqual([code, reason, wasClean, seen.length], [1012, "restart", true, 502])
})

test("a connection that ends is 1006, after all that came before", async () => {
  const { gateway, seen, ended } = await opened()
  for (let n = 0; n < 500; n++) await gateway.say("T", String(n))
  gateway.close()
  assert.equal((await ended).code, 1006)
  assert.deepEqual(seen.slice(0, 2).concat(seen.slice(-2)), [["open"], ["message", "0"], ["error", "ConnectionError"], ["close", 1006]])
  assert.equal(seen.length, 503)
})

test("a gateway that does not know its client any more, and one that comes back, are opened again", async () => {
  const gateway = await Gateway.at()
  const connecting = connect(gateway.address)
  await gateway.open()
  const socket = await connecting
  const codes = []
  socket.onClose(({ code }) => codes.push(code))
  await gateway.say("C", '{"code":4000,"reason":"this gateway does not know you; open first"}')
  const first = gateway.client
  await gateway.open()
  assert.notDeepEqual(gateway.client, first)
  gateway.close()
  while (codes.length < 3) await new Promise((resolve) => setTimeout(resolve, 5)) // lost, and tried in vain
  const again = await Gateway.at(gateway.address)
  await again.open()
  while (socket.state !== "open") await new Promise((resolve) => setTimeout(resolve, 5))
  assert.deepEqual(codes.slice(0, 3), [4000, 1006, 1006])
  socket.disconnect()
})

test("an address that ZeroMQ does not take is refused at once", async () => {
  const address = `ipc:///${"x".repeat(300)}`
  assert.throws(() => new ZeroMQTransport("zeromq:/socket", [], { address }), /cannot connect to 'ipc:\/\/\/xxx/)
  await assert.rejects(connect(address), /cannot connect to/)
})

test("nobody there is an error and a close", async () => {
  for (const address of ["tcp://127.0.0.1:9", `ipc://${join(tmpdir(), randomUUID())}:`]) {
    const { seen, ended } = made({ address })
    assert.match((await ended).reason, /no connection/)
    assert.deepEqual(seen, [["error", "ConnectionError"], ["close", 1006]])
  }
})

test("a gateway that never answers is given up", async () => {
  const gateway = await Gateway.at()
  const { ended } = made(gateway, { openTimeoutMs: 20 })
  assert.match((await ended).reason, /not answered within 20 ms/)
})

test("it asks so often that it is never idle, and gives up a gateway that has been silent", async () => {
  const { gateway, transport, ended } = await opened({}, 4.5)
  const since = performance.now()
  for (let n = 0; n < 4; n++) {
    assert.equal((await gateway.next())[0], "P")
    await gateway.say("P", "")
  }
  assert.ok(performance.now() - since > 4500, "four thirds of 4.5 s")
  assert.equal(transport.readyState, ZeroMQTransport.OPEN)
  const { code, reason } = await ended // unanswered from here on
  assert.equal(code, 1006)
  assert.match(reason, /silent for 4500 ms/)
})

test("more than may wait to be sent ends it", async () => {
  const { transport, seen, ended } = await opened({ maxBufferedBytes: 1000 })
  for (let n = 0; n < 3; n++) transport.send("x".repeat(400))
  assert.equal(transport.readyState, ZeroMQTransport.CLOSED)
  const { code, reason } = await ended
  assert.equal(code, 1013)
  assert.match(reason, /1200 bytes .* more than 1000 \(maxBufferedBytes\)/)
  assert.deepEqual(seen, [["open"], ["error", "ConnectionError"], ["close", 1013]])
})

test("what ZeroMQ has taken waits no more", async () => {
  const { gateway, transport } = await opened({ maxBufferedBytes: 1000 })
  for (let n = 0; n < 50; n++) {
    transport.send("x".repeat(900))
    await gateway.next()
    while (transport.bufferedAmount) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(transport.readyState, ZeroMQTransport.OPEN)
})

test("a message longer than maxMessageBytes ends the connection", async () => {
  const { gateway, ended } = await opened({ maxMessageBytes: 1000 })
  await gateway.say("T", "x".repeat(1001))
  assert.equal((await ended).code, 1006)
})

test("a handler that throws disturbs neither the others nor the transport", async (t) => {
  const { gateway, transport } = await opened()
  const reported = new Promise((resolve) => process.once("uncaughtException", resolve))
  const before = process.listeners("uncaughtException").slice(0, -1)
  before.forEach((listener) => process.off("uncaughtException", listener)) // node:test's own
  t.after(() => before.forEach((listener) => process.on("uncaughtException", listener)))
  transport.onmessage = () => {
    throw new Error("of the application")
  }
  const both = once(transport, "message")
  await gateway.say("T", "a")
  await both
  assert.equal((await reported).message, "of the application")
  assert.equal(transport.readyState, ZeroMQTransport.OPEN)
})

test("CURVE: the right server key opens, with a fresh pair or one's own; a wrong or no key does not", async () => {
  const server = curveKeyPair()
  const gateway = await Gateway.at("tcp://127.0.0.1:*", { curveServer: true, curveSecretKey: server.secretKey })
  for (const own of [{}, curveKeyPair()]) {
    const { transport } = made(gateway, { serverKey: server.publicKey, ...own })
    const open = once(transport, "open")
    await gateway.open()
    await open
  }
  for (const options of [{ serverKey: curveKeyPair().publicKey }, {}]) {
    const { ended } = made(gateway, options)
    const { code, reason } = await ended
    assert.deepEqual([code, /serverKey|connection ended/.test(reason)], [1006, true], reason)
  }
})

test("options are checked, and a key is not shown", () => {
  const { publicKey, secretKey } = curveKeyPair()
  for (const [options, said] of [
    [{ serverkey: publicKey }, /no option 'serverkey'; want one of address, serverKey/],
    [{ serverKey: publicKey.slice(1) }, /serverKey must be a CURVE key, 40 characters of Z85/],
    [{ serverKey: publicKey, secretKey }, /publicKey and secretKey must be given together/],
    [{ publicKey, secretKey }, /serverKey/],
    [{ openTimeoutMs: 0 }, /openTimeoutMs must be a whole number from 1 to 2147483647, not 0/],
    [{ maxBufferedBytes: "1" }, /maxBufferedBytes/],
    [{ address: "http://127.0.0.1:4000" }, /'http:\/\/127.0.0.1:4000' is not a ZeroMQ address \(want tcp:\/\/HOST:PORT or ipc:\/\/PATH\)/],
    [{ address: "tcp://127.0.0.1:70000" }, /not a ZeroMQ address/],
    [{ address: "tcp://127.0.0.1" }, /not a ZeroMQ address/],
  ]) {
    assert.throws(() => zeromqTransport(options), said)
  }
  const short = secretKey.slice(1)
  assert.throws(() => zeromqTransport({ secretKey: short }), (error) => !error.message.includes(short))
  assert.throws(() => new ZeroMQTransport("ws://host/socket"), /contains no ZeroMQ address/)
  assert.throws(() => new ZeroMQTransport("tcp://127.0.0.1:1/socket", ["phoenix", "token"]), /send the token in params/)
  assert.throws(() => new Socket("tcp://127.0.0.1:1", { authToken: "t" }), /send the token in params/)
  assert.throws(() => new Socket("tcp://127.0.0.1:1", { path: "socket" }), /path 'socket'/)
})

test("connect waits for a gateway that is still to come", async () => {
  const address = `ipc://${join(tmpdir(), randomUUID())}`
  const connecting = connect(address, { params: { user: "ana", a: { b: [1] } } })
  const gateway = await Gateway.at(address)
  const { path, params } = await gateway.open()
  assert.deepEqual([path, JSON.stringify(params)], ["/socket", '{"user":"ana","a":{"b":{"0":"1"}},"vsn":"2.0.0"}'])
  const socket = await connecting
  assert.equal(socket.state, "open")
  socket.disconnect()
  assert.deepEqual(await gateway.next(), ["C", ""])
})

test("connect rejects: refused at once, without a gateway in time; then it tries no more", async () => {
  const gateway = await Gateway.at()
  const refused = connect(gateway.address)
  await gateway.next()
  await gateway.say("R", '{"status":403,"reason":"no"}')
  await assert.rejects(refused, { name: "RefusedError", status: 403, reason: "no" })
  const absent = connect("tcp://127.0.0.1:9", { timeoutMs: 2000 })
  await assert.rejects(absent, (error) => error instanceof ConnectionError && /within 2000 ms .*no connection/.test(error.message))
  assert.throws(() => connect("nowhere"), /'nowhere' is not a ZeroMQ address/)
})
