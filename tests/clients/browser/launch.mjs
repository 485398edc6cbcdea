// Headless Chromium, quiet.
import { chromium } from "playwright-core"

const quiet = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
  "disable-component-update", "disable-sync"]

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: quiet.map((flag) => `--${flag}`),
  })
