/**
 * Parses the URL of a socket over ZeroMQ into the gateway's address, the path of the socket's mount, and parameters.
 *
 * Forms: tcp://HOST:PORT/socket?…, ipc://PATH:/socket?… (as in nginx), and zeromq:/socket?… if the address is given
 * separately. phoenix.js and our own Socket append `/websocket` to the path of the mount, which is removed.
 */

const FORM = "tcp://HOST:PORT or ipc://PATH"
const MAX_DEPTH = 32

/** Return {address, path, params} of a URL; `address`, if given, replaces the URL's. Throws a SyntaxError. */
export function locate(url, address) {
  const [whole, query = ""] = split(String(url), "?")
  const [scheme, where] = split(whole, ":")
  if (address !== undefined) return { address: checked(address), ...opening(where ?? "", query) }
  const parts = { tcp: tcpParts, ipc: ipcParts }[scheme]?.(where)
  if (!parts) {
    throw new SyntaxError(`'${url}' contains no ZeroMQ address; want tcp://HOST:PORT/MOUNT, ipc://PATH:/MOUNT, or the option address`)
  }
  return { address: checked(parts[0]), ...opening(parts[1], query) }
}

/** Return the address if it has a valid form. Throws a SyntaxError. */
export function checked(address) {
  const port = /^tcp:\/\/[^/\s]+:(\d{1,5})$/.exec(address)?.[1]
  if ((port && Number(port) > 0 && Number(port) < 65536) || /^ipc:\/\/[^\0]+$/.test(address)) return address
  throw new SyntaxError(`'${address}' is not a ZeroMQ address (want ${FORM})`)
}

function opening(path, query) {
  const mount = decodeURI(path.replace(/^\/\/[^/]*/, "")).replace(/\/websocket\/?$/, "").replace(/\/+$/, "")
  return { path: mount || "/", params: decodeQuery(query) }
}

function tcpParts(where) {
  const [, host, path] = /^\/\/([^/]*)(\/.*)?$/.exec(where) ?? []
  return host && [`tcp://${host}`, path ?? ""]
}

function ipcParts(where) {
  const at = where.lastIndexOf(":/")
  return where.startsWith("//") && at > 2 && [`ipc:${decodeURI(where.slice(0, at))}`, where.slice(at + 1)]
}

/** Decode a query string as the gateway does: `a[b]=c` nests, `a[]=1` is a list; values are strings. */
export function decodeQuery(query) {
  const root = []
  const levels = new Map() // by their text: `x[a][b]` and `x[a][c]` share the level `x[a]`
  for (const pair of query.split("&").filter(Boolean)) {
    const [name, value = ""] = split(pair, "=")
    insert(root, levels, keysOf(unquote(name)), unquote(value))
  }
  return mapOf(root)
}

const unquote = (text) => decodeURIComponent(text.replaceAll("+", " "))

function keysOf(name) {
  const [, head, rest] = /^([^[]+)\[(.*)\]$/s.exec(name) ?? [null, name]
  const keys = rest === undefined ? [head] : [head, ...rest.split("][")]
  if (keys.length > MAX_DEPTH) throw new SyntaxError(`a parameter nested ${keys.length} deep; at most ${MAX_DEPTH}`)
  return keys
}

/** Append a value to its level, and each new level to its parent. */
function insert(root, levels, keys, value) {
  let below = value
  for (let depth = keys.length - 1; depth > 0; depth--) {
    const text = keys[0] + keys.slice(1, depth).map((key) => `[${key}]`).join("")
    const known = levels.get(text)
    const level = known ?? []
    level.push([keys[depth], below])
    if (known) return
    levels.set(text, level)
    below = level
  }
  root.push([keys[0], below])
}

/** If names conflict, the last one wins, as in Plug: `x[]=1&x[y]=2` is a map. */
function valueOf(below) {
  if (!Array.isArray(below)) return below
  if (below.at(-1)[0] !== "") return mapOf(below.filter(([key]) => key !== ""))
  return below.filter(([key]) => key === "").map(([, inner]) => valueOf(inner))
}

function mapOf(entries) {
  const map = Object.create(null) // any name may be a key
  for (const [key, inner] of entries) map[key] = valueOf(inner)
  return map
}

function split(text, by) {
  const at = text.indexOf(by)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + by.length)]
}
