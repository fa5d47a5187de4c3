/** Starts the real `driftless` binary on a private port and folder, and ends it by its pid. */
import { spawn, execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { after, before } from 'node:test'
import { promisify } from 'node:util'
import { freePort } from './port.js'
import { PATIENCE_MS, until } from './wait.js'

/** The last lines of the server's log that a failure shows. */
const LOG_BYTES_MAX = 8_000

const binary = process.env.DRIFTLESS_BIN
if (!binary) {
  throw new Error('DRIFTLESS_BIN must be the path of the driftless binary; cargo xtask test sets it')
}

/**
 * The address of another door of the same server, which may be a `Server` or a node of a cluster.
 *
 * @param {{ url: string }} server
 * @param {string} path such as `/hocuspocus`
 * @param {string} [scheme] `ws:` or `http:`, which become `wss:` and `https:` where the server speaks TLS
 */
export function door (server, path, scheme = 'ws:') {
  const { host, protocol } = new URL(server.url)
  const named = protocol === 'wss:' ? scheme.replace(':', 's:') : scheme
  return `${named}//${host}${path}`
}

/** Settings of the surroundings would change what is tested, and unknown ones are refused. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('DRIFTLESS_')))

/** One server: the same port and data folder over all its restarts. */
export class Server {
  /** @param {string[]} flags of `driftless serve` */
  constructor (flags) {
    this.port = 0
    this.data = ''
    this.flags = flags
    this.log = ''
    /** @type {import('node:child_process').ChildProcess | null} */
    this.process = null
  }

  /** What a y-websocket provider gets as its server. The other doors are beside it, see `door`. */
  get url () {
    return `ws${this.secure}://127.0.0.1:${this.port}/ws`
  }

  /** What a server with a certificate has in its URLs, and others have not. */
  get secure () {
    return this.flags.includes('--tls-certificate') ? 's' : ''
  }

  /** Takes a port and a folder, and starts. */
  async prepare () {
    this.data = await mkdtemp(path.join(os.tmpdir(), 'driftless-js-'))
    this.port = await freePort()
    await this.start()
  }

  async dispose () {
    await this.kill()
    await rm(this.data, { recursive: true, force: true })
  }

  async start () {
    const listen = `127.0.0.1:${this.port}`
    const child = spawn(binary, ['serve', '--listen', listen, '--data', this.data, ...this.flags], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe']
    })
    this.process = child
    const keep = chunk => { this.log = (this.log + chunk).slice(-LOG_BYTES_MAX) }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    await until(
      'the server is ready',
      async () => {
        if (child.exitCode !== null) throw new Error(`the server ended at once:\n${this.log}`)
        return this.isReady()
      },
      undefined,
      () => `\n${this.log}`
    )
  }

  async isReady () {
    try {
      const response = await fetch(`http${this.secure}://127.0.0.1:${this.port}/readyz`)
      return response.ok
    } catch {
      return false
    }
  }

  /** Sends a signal and waits for the end. @returns {Promise<number | null>} the exit code */
  async end (signal) {
    const child = this.process
    if (child === null) return null
    this.process = null
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    child.kill(signal)
    await once(child, 'exit')
    return child.exitCode
  }

  /** The graceful way. */
  stop () {
    return this.end('SIGTERM')
  }

  /** The way of a power cut, as far as a process can tell. */
  kill () {
    return this.end('SIGKILL')
  }

  /** A token of `driftless token`, made with this server's key. @returns {Promise<string>} */
  async mint (...words) {
    const key = this.flags.slice(this.flags.indexOf('--auth-secret')).slice(0, 2)
    const { stdout } = await promisify(execFile)(binary, ['token', ...key, ...words], {
      env: environment,
      timeout: PATIENCE_MS
    })
    return stdout.trim()
  }

  /** Runs another command of the binary on the same data. @returns {Promise<string>} its output */
  async command (...words) {
    const { stdout } = await promisify(execFile)(binary, [...words, '--data', this.data], {
      env: environment,
      timeout: PATIENCE_MS
    })
    return stdout
  }
}

/**
 * A running server that is stopped, and its data removed, when the test ends.
 *
 * @param {import('node:test').TestContext} t
 * @param {string[]} [flags]
 */
export async function startServer (t, flags = []) {
  const server = new Server(flags)
  t.after(() => server.dispose())
  await server.prepare()
  return server
}

/** One server for all tests of a file or `describe`: they use documents of their own. */
export function sharedServer (flags = []) {
  const server = new Server(flags)
  before(() => server.prepare())
  after(() => server.dispose())
  return server
}
