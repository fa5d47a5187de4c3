/** A real Chromium, a page that runs a client, and a network whose cables can be pulled. */
import { build } from 'esbuild-wasm'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { after, before } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { PATIENCE_MS, until } from './wait.js'

/** Where distributions put it; `CHROMIUM` wins. */
const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Headless on a machine without a network of its own: nothing is looked up, nothing is updated. */
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync']

/** A busy machine takes a while to start it. */
const START_PATIENCE_MS = 120_000

/** The first bytes of a request that hold its path. */
const REQUEST_BYTES_MAX = 16 * 1024

/** A TCP proxy in front of the server that can cut off one tab by its `?tab=`. */
class Cables {
  constructor (server) {
    this.upstream = server
    this.cut = new Set()
    /** @type {Map<net.Socket, string>} */
    this.sockets = new Map()
    this.listener = net.createServer(socket => this.#accept(socket))
  }

  async listen () {
    this.listener.listen(0, '127.0.0.1')
    await once(this.listener, 'listening')
    this.host = `127.0.0.1:${this.listener.address().port}`
  }

  /** From now on nothing of this tab gets through, as on a train in a tunnel. */
  pull (tab) {
    this.cut.add(tab)
    for (const [socket, owner] of this.sockets) if (owner === tab) socket.destroy()
  }

  plug (tab) {
    this.cut.delete(tab)
  }

  #accept (socket) {
    let head = ''
    socket.on('error', () => socket.destroy())
    const read = chunk => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n') && head.length < REQUEST_BYTES_MAX) return
      socket.off('data', read)
      this.#connect(socket, /[?&]tab=(\w+)/.exec(head)?.[1] ?? '', head)
    }
    socket.on('data', read)
  }

  #connect (socket, tab, head) {
    if (this.cut.has(tab)) return socket.destroy()
    this.sockets.set(socket, tab)
    const up = net.connect(this.upstream.port, '127.0.0.1')
    up.on('error', () => socket.destroy())
    up.on('close', () => socket.destroy())
    socket.on('close', () => {
      this.sockets.delete(socket)
      up.destroy()
    })
    up.write(head, 'latin1')
    up.pipe(socket)
    socket.pipe(up)
  }

  close () {
    for (const socket of this.sockets.keys()) socket.destroy()
    this.listener.close()
  }
}

/** A page as one script, served on a port of its own: another origin than the sync server's. */
async function servePage (script) {
  const entry = fileURLToPath(new URL(`../browser/page/${script}`, import.meta.url))
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, write: false, format: 'esm' })
  const bundle = outputFiles[0].text
  const page = '<!doctype html><title>tab</title><script type="module" src="/tab.js"></script>'
  const listener = http.createServer((request, response) => {
    const isScript = request.url === '/tab.js'
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html')
    response.end(isScript ? bundle : page)
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  // Not what keeps a failed run alive.
  listener.unref()
  return listener
}

/**
 * One browser for all tests of a file; each test gets a profile of its own.
 *
 * @param {string} [script] of `browser/page` that its tabs run
 */
export function sharedBrowser (script = 'tab.js') {
  const browser = { chromium: null, page: null }
  before(async () => {
    const executablePath = process.env.CHROMIUM ?? CHROMIUM_PATHS.find(path => existsSync(path))
    browser.chromium = await chromium.launch({ executablePath, args: CHROMIUM_FLAGS, timeout: START_PATIENCE_MS })
    browser.page = await servePage(script)
  })
  after(async () => {
    await browser.chromium?.close()
    browser.page?.closeAllConnections()
    browser.page?.close()
  })
  return browser
}

/** A browser profile with its cables to one server. */
export class Tabs {
  static async open (t, browser, server) {
    const tabs = new Tabs()
    tabs.browser = browser
    tabs.cables = new Cables(server)
    await tabs.cables.listen()
    tabs.context = await browser.chromium.newContext()
    tabs.context.setDefaultTimeout(PATIENCE_MS)
    t.after(async () => {
      await tabs.context.close()
      tabs.cables.close()
    })
    return tabs
  }

  /** Opens a tab and waits until it is synced. `more` are parameters that only some pages know. */
  async tab (name, document, more = {}) {
    const page = await this.context.newPage()
    const parameters = new URLSearchParams({ tab: name, document, host: this.cables.host, ...more })
    await page.goto(`http://127.0.0.1:${this.browser.page.address().port}/?${parameters}`)
    const tab = new Tab(page, name)
    await until(`tab ${name} is synced`, () => tab.call('synced'))
    return tab
  }
}

/** One tab, driven through `window.tab`. */
class Tab {
  constructor (page, name) {
    this.page = page
    this.name = name
  }

  /** Calls a function of the page's `window.tab`. */
  call (action, argument) {
    return this.page.evaluate(([action, argument]) => window.tab[action](argument), [action, argument])
  }

  /** Reads a value of the page's `window.tab`. */
  value (name) {
    return this.page.evaluate(name => window.tab[name], name)
  }
}
