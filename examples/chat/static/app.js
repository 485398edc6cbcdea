// The chat page: each room is a channel, Presence lists its people, and History brings what was said while the page was
// closed or had no connection. Users' text is inserted as textContent only.
import { Socket } from "/js/channelmesh.js"
import { History } from "/js/history.js"
import { Presence } from "/js/presence.js"

const byId = (id) => document.getElementById(id)
const ROOMS = ["lobby", "kitchen", "garden"]
const STATUS = { open: "connected", connecting: "reconnecting …", closed: "disconnected" }
const TYPING_MS = 2500
const GROUP_MS = 120000
const MESSAGES_KEPT = 500
const MESSAGES_LOADED = 50

const rooms = new Map()
let socket
let me = ""
let current

// Entering the chat

const query = new URLSearchParams(location.search)

/** What is stored for this page, or for this tab only; the chat works without storage. */
const remembered = (storage, name) => {
  try {
    return globalThis[storage].getItem(`channelmesh:${name}`) ?? ""
  } catch {
    return ""
  }
}
const remember = (storage, name, value) => {
  try {
    globalThis[storage].setItem(`channelmesh:${name}`, value)
  } catch {
    // see above
  }
}

const tab = remembered("sessionStorage", "tab") || Math.random().toString(36).slice(2) // the same after a reload
byId("name").value = query.get("name") ?? remembered("localStorage", "name")
byId("enter").addEventListener("submit", (event) => {
  event.preventDefault()
  const name = byId("name").value.trim()
  if (name) enter(name)
})

function enter(name) {
  me = name
  remember("localStorage", "name", name)
  remember("sessionStorage", "name", name)
  remember("sessionStorage", "tab", tab)
  byId("enter").hidden = true
  byId("chat").hidden = false
  byId("me").append(avatar(me), me)
  socket = new Socket("/socket", { params: () => ({ user: me, tab }) })
  socket.onOpen(showStatus)
  socket.onClose(showStatus)
  socket.onError(showStatus)
  socket.connect()
  showStatus()
  for (const name of ROOMS) room(name)
  show(roomOfAddress() ?? ROOMS[0])
}

function showStatus() {
  byId("status").dataset.state = socket.state
  byId("status").textContent = STATUS[socket.state]
  if (socket.state === "open") problem("")
}

// Rooms

const roomOfAddress = () => new URLSearchParams(location.hash.slice(1)).get("room")
addEventListener("hashchange", () => me && roomOfAddress() && show(roomOfAddress()))

/** Return the room with this name; join it if necessary. */
function room(name) {
  if (!rooms.has(name)) rooms.set(name, join(name))
  return rooms.get(name)
}

function join(name) {
  const channel = socket.channel(`room:${name}`, History.params({}, { last: MESSAGES_LOADED }))
  const kept = new History(channel, { onGap: () => gap(joined) })
  const presence = new Presence(channel)
  const joined = { name, channel, presence, messages: [], typing: new Map(), unread: 0, loading: null }
  presence.onSync(() => joined === current && showPeople())
  presence.onLeave((_user, _now, { metas }) => metas.forEach((meta) => stopTyping(joined, meta.tab)))
  channel.on("history_state", ({ count }) => (joined.loading = joined.loading === null ? count : 0))
  kept.on("new_msg", (message) => received(joined, message))
  channel.on("typing", (person) => typing(joined, person))
  channel.join().catch((error) => problem(error.response?.reason ?? "The room cannot be joined at the moment."))
  return joined
}

function show(name) {
  current = room(name)
  current.unread = 0
  history.replaceState(null, "", `#${new URLSearchParams({ room: name })}`)
  byId("title").textContent = `# ${name}`
  byId("messages").replaceChildren()
  current.messages.forEach((message, index) => showMessage(message, current.messages[index - 1]))
  closeMenu()
  showRooms()
  showPeople()
  showTyping()
  if (matchMedia("(hover: hover)").matches) byId("message").focus()
}

byId("new-room-form").addEventListener("submit", (event) => {
  event.preventDefault()
  const name = byId("new-room").value.trim().toLowerCase()
  if (name) show(name)
  byId("new-room").value = ""
})

function showRooms() {
  const entries = [...rooms.values()].map(({ name, unread }) => {
    const button = element("button", { type: "button" }, element("span", { className: "name" }, name))
    button.dataset.room = name
    button.setAttribute("aria-current", String(name === current?.name))
    if (unread) button.append(element("span", { className: "unread", title: `${unread} unread` }, String(unread)))
    button.addEventListener("click", () => show(name))
    return element("li", {}, button)
  })
  const focused = document.activeElement?.dataset.room
  byId("rooms").replaceChildren(...entries)
  if (focused) byId("rooms").querySelector(`[data-room="${CSS.escape(focused)}"]`)?.focus()
}

// People

function showPeople() {
  const names = current.presence.list((name) => name).sort((a, b) => a.localeCompare(b))
  byId("count").textContent = names.length || ""
  byId("people").replaceChildren(
    ...names.map((name) => {
      const person = element("li", {}, avatar(name), name === me ? `${name} (you)` : name)
      person.dataset.user = name
      return person
    }),
  )
}

function typing(where, { user, tab: who }) {
  clearTimeout(where.typing.get(who)?.timer)
  where.typing.set(who, { user, timer: setTimeout(() => stopTyping(where, who), TYPING_MS) })
  if (where === current) showTyping()
}

function stopTyping(where, who) {
  clearTimeout(where.typing.get(who)?.timer)
  where.typing.delete(who)
  if (where === current) showTyping()
}

function showTyping() {
  const names = [...new Set([...current.typing.values()].map(({ user }) => user))]
  const verb = names.length === 1 ? "is" : "are"
  byId("typing").textContent = names.length ? `${names.join(", ")} ${verb} typing …` : ""
}

// Messages

function received(where, { user, tab: who, body, at }) {
  stopTyping(where, who)
  keep(where, { user, body, own: who === tab, at: at ? at * 1000 : Date.now() })
  if (where.loading > 0) where.loading-- // it was said before the page was opened
  else if (where !== current) where.unread++
  if (where !== current) showRooms()
}

/** What was missed cannot be recovered, for example because it is more than the server keeps. */
function gap(where) {
  keep(where, { gap: true })
}

function keep(where, message) {
  const before = where.messages.at(-1)
  where.messages.push(message)
  if (where.messages.length > MESSAGES_KEPT) where.messages.shift()
  if (where === current) showMessage(message, before)
}

function showMessage(message, before) {
  const list = byId("messages")
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80
  list.append(message.gap ? element("li", { className: "gap" }, "Messages may be missing here") : entryOf(message, before))
  if (list.childElementCount > MESSAGES_KEPT) list.firstChild.remove()
  if (atEnd || message.own) list.scrollTop = list.scrollHeight
}

function entryOf(message, before) {
  const grouped = before && before.user === message.user && message.at - before.at < GROUP_MS
  const time = new Date(message.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
  const entry = element(
    "li",
    { className: `message${message.own ? " own" : ""}${grouped ? " grouped" : ""}` },
    avatar(message.user),
    element("div", { className: "head" }, element("b", {}, message.user), element("time", {}, time)),
    element("div", { className: "body" }, message.body),
  )
  entry.dataset.user = message.user
  return entry
}

byId("compose").addEventListener("submit", async (event) => {
  event.preventDefault()
  const body = byId("message").value.trim()
  if (!body) return
  byId("message").value = ""
  lastTyping = 0
  try {
    await current.channel.push("new_msg", { body })
    problem("")
  } catch (error) {
    problem(error.response?.reason ?? "The message was not sent; try again when you are connected.")
    byId("message").value ||= body
  }
})

let lastTyping = 0
byId("message").addEventListener("input", () => {
  if (Date.now() - lastTyping < TYPING_MS / 2 || current.channel.state !== "joined") return
  lastTyping = Date.now()
  current.channel.cast("typing")
})

// The menu, and helpers

byId("menu").addEventListener("click", () => {
  const open = byId("chat").classList.toggle("menu")
  byId("menu").setAttribute("aria-expanded", String(open))
})
document.querySelector("main").addEventListener("click", ({ target }) => target.closest("#menu") ?? closeMenu())
addEventListener("keydown", ({ key }) => key === "Escape" && closeMenu())

function closeMenu() {
  byId("chat").classList.remove("menu")
  byId("menu").setAttribute("aria-expanded", "false")
}

function problem(text) {
  byId("problem").textContent = text
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

function avatar(name) {
  const initials = name.split(/\s+/).slice(0, 2).map((word) => [...word][0]).join("").toUpperCase()
  const made = element("span", { className: "avatar" }, initials)
  made.setAttribute("aria-hidden", "true")
  made.style.setProperty("--hue", String([...name].reduce((sum, char) => (sum * 31 + char.codePointAt(0)) % 360, 7)))
  return made
}

// Enter at once if the URL contains a name, and after a reload.
const asked = (query.get("name") ?? remembered("sessionStorage", "name")).trim().slice(0, byId("name").maxLength)
if (asked) enter(asked)
else byId("name").focus()
