// tests/vectors, replayed with nothing of ours: msgpack and BLAKE2b from npm, and docs/protocol.md.
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { test } from "node:test"
import { decode, encode } from "@msgpack/msgpack"
import { blake2b } from "@noble/hashes/blake2b"

const read = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url)))
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"))
const hex = (data) => Buffer.from(data).toString("hex")

// {"hex": …} is bytes, in both directions.
const real = (value) => {
  if (Array.isArray(value)) return value.map(real)
  if (value === null || typeof value !== "object") return value
  const keys = Object.keys(value)
  if (keys.length === 1 && keys[0] === "hex") return bytes(value.hex)
  return Object.fromEntries(keys.map((key) => [key, real(value[key])]))
}
const readable = (value) => {
  if (value instanceof Uint8Array) return { hex: hex(value) }
  if (Array.isArray(value)) return value.map(readable)
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, readable(each)]))
}

const HEADER = [Number.isInteger, Number.isInteger, isText, Number.isInteger, isText, Number.isInteger, isSender]
function isText(value) {
  return typeof value === "string"
}
function isSender(value) {
  return value === null || value === undefined || (Array.isArray(value) && value.length >= 4)
}
function isPosition(value) {
  if (!Array.isArray(value)) return false
  const [epoch, offset, term] = value
  return isText(epoch) && epoch !== "" && isCount(offset) && isCount(term)
}
function isCount(value) {
  return Number.isInteger(value) && value >= 0
}

function readHeader(data) {
  const header = decode(data)
  if (!Array.isArray(header) || header.length < 6) throw new Error("not a header")
  if (!HEADER.every((is, at) => is(header[at]))) throw new Error("a wrong element")
  if (header[0] !== 1) throw new Error("another version")
  if (header[1] === 11 && !isPosition(header[8])) throw new Error("recorded without a position")
  return header
}

for (const vector of read("bus")) {
  test(`bus: ${vector.id}`, () => {
    const [first, second, third] = vector.frames.map(bytes)
    if (vector.error) return assert.throws(() => readHeader(second))
    assert.equal(Buffer.from(first).toString("utf8"), `${vector.topic}\0`)
    assert.deepEqual(readable(readHeader(second)), vector.header)
    assert.equal(hex(encode(real(vector.header))), vector.frames[1])
    if (vector.payload !== null) assert.deepEqual(readable(decode(third)), vector.payload)
  })
}

// Of each command: how many elements it has at least, and which of them are numbers.
const COMMANDS = {
  to_worker: { 0: [3, [1]], 2: [11, [1, 9]], 3: [6, [1, 4]], 4: [3, [1]], 5: [2, [1]], 6: [3, []],
    19: [2, []], 20: [2, []], 22: [2, [1]] },
  to_gateway: {
    1: [3, [1]], 7: [6, [1, 3, 4]], 8: [4, [1, 2]], 9: [7, [1, 2, 5]], 10: [6, [1, 2, 4]], 11: [3, [1, 2]], 12: [3, [1, 2]],
    13: [1, []], 14: [6, [2, 4]], 15: [3, [1, 2]], 16: [5, [1, 2]], 17: [2, [1]], 18: [2, [1]], 21: [2, [1]],
    23: [6, [1, 3, 5]], 24: [3, [1]],
  },
}

function readBatch(direction, data) {
  const batch = decode(data)
  if (!Array.isArray(batch)) throw new Error("not a batch")
  for (const command of batch) {
    const known = COMMANDS[direction][command[0]]
    if (!known) throw new Error("an unknown command")
    if (command.length < known[0]) throw new Error("too short")
    if (!known[1].every((at) => isCount(command[at]))) throw new Error("not a number")
    if (command[0] === 24 && !command[2].every((each) => each.length >= 4)) throw new Error("too short")
  }
  return batch
}

for (const vector of read("link")) {
  test(`link: ${vector.id}`, () => {
    if (vector.error) return assert.throws(() => readBatch(vector.direction, bytes(vector.hex)))
    const batch = readBatch(vector.direction, bytes(vector.hex))
    assert.deepEqual(readable(batch).map((each, at) => each.slice(0, vector.commands[at].length)), vector.commands)
    if (vector.comment !== "decodes only") assert.equal(hex(encode(real(vector.commands))), vector.hex)
  })
}

for (const vector of read("placement")) {
  test(`placement: ${vector.id}`, () => {
    const weight = (worker) => {
      const key = Buffer.from(worker).subarray(0, 64)
      return hex(blake2b(Buffer.from(vector.key), { dkLen: 8, key }))
    }
    const highest = [...vector.workers].sort((one, two) => (weight(one) < weight(two) ? 1 : -1))[0]
    assert.equal(highest, vector.chosen)
  })
}

const V2_KINDS = { 0: "push", 1: "reply", 2: "broadcast" }

// A V2 binary frame of the server: the kind, the sizes of its texts, the texts, the payload.
function readBinary(data) {
  const texts = { push: 3, reply: 4, broadcast: 2 }[V2_KINDS[data[0]]]
  const sizes = [...data.subarray(1, 1 + texts)]
  let at = 1 + texts
  const read = sizes.map((size) => Buffer.from(data.subarray(at, (at += size))).toString("utf8"))
  return [V2_KINDS[data[0]], read, hex(data.subarray(at))]
}

for (const vector of read("client").filter((each) => each.direction === "to_client")) {
  test(`client: ${vector.id}`, () => {
    const data = bytes(vector.hex)
    const [kind, ...values] = vector.encodes_from
    const wantedRef = kind === "encode_broadcast" && values.length > 4 ? values.pop() : null
    const payload = real(values.at(-1))
    const sent = kind === "encode_reply" ? { status: values[3], response: null } : null
    if (vector.serializer === "v2_json" && vector.binary) {
      const [what, texts, rest] = readBinary(data)
      assert.equal(what, kind.replace("encode_", ""))
      const wanted = { push: [values[0], values[1], values[2]], reply: [values[0], values[1], values[2], values[3]], broadcast: [values[0], values[1]] }
      assert.deepEqual(texts, wanted[what])
      assert.equal(rest, hex(payload))
      return
    }
    const message = vector.serializer === "v2_msgpack" ? decode(data) : JSON.parse(Buffer.from(data).toString("utf8"))
    const [joinRef, ref, topic, event, got] = vector.serializer === "v1_json"
      ? [undefined, message.ref, message.topic, message.event, message.payload]
      : message
    const body = values.at(-2) === 1 && kind !== "encode_end" ? payload : JSON.parse(Buffer.from(payload).toString("utf8"))
    assert.deepEqual(readable(got), readable(sent ? { ...sent, response: body } : body))
    assert.equal(topic, { encode_reply: values[2], encode_push: values[1], encode_broadcast: values[0], encode_end: values[1] }[kind])
    assert.equal(event, { encode_reply: "phx_reply", encode_push: values[2], encode_broadcast: values[1], encode_end: values[2] }[kind])
    if (kind === "encode_reply") assert.equal(ref, values[1])
    if (kind === "encode_broadcast") assert.equal(ref, wantedRef)
    if (kind === "encode_broadcast" && vector.serializer !== "v1_json") assert.equal(joinRef, null)
  })
}

for (const vector of read("client").filter((each) => each.direction === "to_positioned_client")) {
  test(`client: ${vector.id}`, () => {
    const [topic, event, , payload] = vector.broadcast
    const [epoch, offset] = vector.position
    const messages = vector.messages.map((each) => bytes(each.hex))
    if (vector.serializer === "v2_msgpack") {
      assert.deepEqual(readable(messages.map((each) => decode(each))), [[null, `${epoch}:${offset}`, topic, event, payload]])
      return
    }
    const before = JSON.parse(Buffer.from(messages[0]).toString("utf8"))
    assert.deepEqual(before, [null, null, topic, "history_position", { epoch, offset, event }])
    assert.deepEqual(readBinary(messages[1]), ["broadcast", [topic, event], payload.hex])
    assert.equal(messages.length, 2)
  })
}
