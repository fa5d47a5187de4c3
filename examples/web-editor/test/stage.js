/** What the test needs around it: the server, the page, and a browser. Each ends with the test. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { build, preview } from 'vite'
import { freePort } from '../../../server/tests/js/helpers/port.js'

const PATIENCE_MS = 30_000
const POLL_MS = 20

const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Headless, and nothing but the page speaks to a network. */
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** A busy machine takes a while to start it. */
const START_PATIENCE_MS = 120_000

/** Resolves once `probe` is true. */
export async function until (what, probe) {
  const deadline = Date.now() + PATIENCE_MS
  while (!await probe()) {
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_MS} ms until ${what}`)
    await sleep(POLL_MS)
  }
}

/** Runs `driftless serve`; returns its port and the ways to end and start it. */
export async function startServer (t) {
  const binary = process.env.DRIFTLESS_BIN
  if (!binary) throw new Error('DRIFTLESS_BIN must be the path of the driftless binary')
  const data = await mkdtemp(path.join(os.tmpdir(), 'driftless-editor-'))
  const port = await freePort()
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('DRIFTLESS_'))
  let child = null
  const start = async () => {
    child = spawn(binary, ['serve', '--listen', `127.0.0.1:${port}`, '--data', data],
      { stdio: 'ignore', env: Object.fromEntries(inherited) })
    await until('the server is ready', () =>
      fetch(`http://127.0.0.1:${port}/readyz`).then(answer => answer.ok, () => false))
  }
  const stop = async () => {
    if (child.exitCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  t.after(async () => {
    await stop()
    await rm(data, { recursive: true, force: true })
  })
  await start()
  return { port, start, stop }
}

/** A cable between one browser and the server that can be pulled; Chromium's own offline switch
 * leaves open WebSockets alone. */
export async function startCable (t, serverPort) {
  const sockets = new Set()
  let pulled = false
  const listener = net.createServer(socket => {
    if (pulled) return socket.destroy()
    const up = net.connect(serverPort, '127.0.0.1')
    for (const [end, other] of [[socket, up], [up, socket]]) {
      sockets.add(end)
      end.on('error', () => end.destroy())
      end.on('close', () => {
        sockets.delete(end)
        other.destroy()
      })
      end.pipe(other)
    }
  }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const pull = () => {
    pulled = true
    sockets.forEach(socket => socket.destroy())
  }
  t.after(() => {
    pull()
    listener.close()
  })
  return { port: listener.address().port, pull, plug: () => { pulled = false } }
}

/** Builds the page of an example and serves it; returns its address. */
export async function servePage (t, root = fileURLToPath(new URL('..', import.meta.url))) {
  await build({ root, logLevel: 'warn' })
  const server = await preview({ root, preview: { host: '127.0.0.1', port: await freePort() } })
  t.after(() => server.close())
  return server.resolvedUrls.local[0]
}

/** Starts Chromium. */
export async function startBrowser (t) {
  const executablePath = process.env.CHROMIUM ?? CHROMIUM_PATHS.find(path => existsSync(path))
  const browser = await chromium.launch({ executablePath, args: CHROMIUM_FLAGS, timeout: START_PATIENCE_MS })
  t.after(() => browser.close())
  return browser
}
