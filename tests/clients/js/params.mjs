// Prints, for each JavaScript expression in argv[2] (a JSON array), the query strings that phoenix.js and clients/js make of it.
import { createRequire } from "node:module"
import { Socket } from "../../../clients/js/channelmesh.js"

const theirs = createRequire(new URL("../package.json", import.meta.url))("phoenix").Socket
const queryOf = (url) => url.slice(url.indexOf("?") + 1)
const made = JSON.parse(process.argv[2]).map((expression) => {
  const params = new Function(`return ${expression}`)()
  return {
    phoenix: queryOf(new theirs("ws://host/socket", { params, transport: class {} }).endPointURL()),
    ours: queryOf(new Socket("ws://host/socket", { params, transport: class {} }).url),
  }
})
console.log(JSON.stringify(made))
