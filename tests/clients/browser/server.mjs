// One Chromium for several scripts: prints its address; the end of stdin ends it.
import { chromium } from "playwright-core"
import { options } from "./launch.mjs"

const server = await chromium.launchServer(options)
console.log(server.wsEndpoint())
process.stdin.on("end", async () => {
  await server.close()
  process.exit(0)
})
process.stdin.resume()
