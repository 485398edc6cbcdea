// Headless Chromium, quiet. If $BROWSER has the address of one that runs already (server.mjs), that one.
import { chromium } from "playwright-core"

const quiet = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
  "disable-component-update", "disable-sync"]

export const options = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: quiet.map((flag) => `--${flag}`),
}

/** Closing what this returns closes its own pages, and the browser only if it was started here. */
export const launch = () =>
  process.env.BROWSER ? chromium.connect(process.env.BROWSER, { timeout: 240000 }) : chromium.launch(options)
