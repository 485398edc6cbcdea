// Reads presence stories from stdin and prints what phoenix.js's Presence makes of each step.
import { readFileSync } from "node:fs"
import { Presence } from "phoenix"

const clone = (value) => JSON.parse(JSON.stringify(value))
const told = JSON.parse(readFileSync(0, "utf8")).map((story) => {
  let state = {}
  return story.map(([kind, payload]) => {
    const calls = []
    const joined = (key, before, came) => calls.push(clone(["join", key, before ? before.metas.length : null, came]))
    const left = (key, now, went) => calls.push(clone(["leave", key, now, went]))
    state = (kind === "state" ? Presence.syncState : Presence.syncDiff).call(Presence, state, payload, joined, left)
    return clone([state, calls])
  })
})
console.log(JSON.stringify(told))
