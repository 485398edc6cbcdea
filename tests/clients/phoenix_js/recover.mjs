// Clients of phoenix.js with History that are cut off, again and again: what they receive, and what they are told.
// node recover.mjs PACKAGE URL URL TOPIC…: one client at each URL, and each time it is cut it comes back at the next.
// Commands are lines of JSON on stdin; each is answered by a line on stdout:
// {"cut": N}: cut each client N times, each time soon after it has received something that is not missed.
// {"cutting": true}: begin to cut without end, {"cutting": false}: end that.
// {"end": {TOPIC: {FROM: N, …}, …}, "seconds": S}: wait until each client has number N of each publisher of each topic
// at least, then tell everything.
import { createInterface } from "node:readline"
import { History } from "../../../clients/js/history.js"
import { PATIENCE, Socket, WebSocket, until } from "./harness.mjs"

const urls = process.argv.slice(3, 5)
const topics = process.argv.slice(5)
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

class Client {
  constructor(number) {
    this.cuts = 0
    this.live = 0 // broadcasts since it last joined
    this.opened = number
    this.rooms = {}
    const client = this
    // phoenix.js has one address; this is what a load balancer does with it.
    class Balanced extends WebSocket {
      constructor(url, ...rest) {
        super(url.replace(/^ws:\/\/[^/]+/, urls[client.opened++ % urls.length].replace(/^http/, "ws")), ...rest)
        client.connection = this
      }
    }
    const quickly = { reconnectAfterMs: () => 20, rejoinAfterMs: () => 20 }
    this.socket = new Socket(urls[0].replace(/^http/, "ws") + "/socket", { transport: Balanced, ...quickly })
    this.socket.connect()
    for (const topic of topics) this.#join(topic)
  }

  #join(topic) {
    const channel = this.socket.channel(topic, History.params())
    const room = (this.rooms[topic] = { received: [], last: {}, positions: [], states: [], gaps: 0, channel })
    const history = new History(channel, { onGap: () => room.gaps++ })
    channel.on("history_state", (state) => {
      room.states.push(state)
      this.live = 0
    })
    history.on("n", ({ from, n }) => {
      room.received.push([from, n])
      room.last[from] = n
      room.positions.push([history.position.epoch, history.position.offset])
      this.live++
    })
    channel.join()
  }

  get joined() {
    return Object.values(this.rooms).every((room) => room.channel.state === "joined" && room.states.length)
  }

  async cut() {
    await until(() => this.joined && this.live > 1, PATIENCE, "joined, and something received")
    await pause(Math.random() * 60)
    this.connection.terminate() // what is under way is lost
    this.live = 0
    this.cuts++
  }

  has(wanted) {
    const has = ([topic, last]) => Object.entries(last).every(([from, n]) => this.rooms[topic].last[from] >= n)
    return this.joined && Object.entries(wanted).every(has)
  }

  get told() {
    return {
      cuts: this.cuts,
      rooms: Object.fromEntries(
        Object.entries(this.rooms).map(([topic, { channel: _, ...rest }]) => [topic, rest]),
      ),
    }
  }
}

const clients = urls.map((_, number) => new Client(number))
let cutting = false
let cutters = Promise.resolve()

async function cutWithoutEnd(client) {
  while (cutting) {
    await client.cut()
    await pause(Math.random() * 300)
  }
}

const commands = {
  cut: (times) =>
    Promise.all(
      clients.map(async (client) => {
        for (let n = 0; n < times; n++) await client.cut()
      }),
    ),
  cutting(begin) {
    cutting = begin
    if (begin) cutters = Promise.all(clients.map(cutWithoutEnd))
    else return cutters
  },
  async end(wanted, { seconds }) {
    try {
      await until(() => clients.every((client) => client.has(wanted)), seconds)
      await pause(200) // for what comes twice
    } catch (error) {
      console.error(error.message) // what is missing, whoever reads the answer finds out
    }
    return clients.map((client) => client.told)
  },
}

await until(() => clients.every((client) => client.joined), PATIENCE, "joined")
console.log(JSON.stringify("joined"))
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  const [name] = Object.keys(command)
  console.log(JSON.stringify((await commands[name](command[name], command)) ?? null))
}
process.exit(0)
