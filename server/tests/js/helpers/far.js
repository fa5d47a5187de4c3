/** A server at the end of a long line: what is sent either way arrives in order and later. */
import { once } from 'node:events'
import net from 'node:net'

/** Passes on what comes, each piece `delayMs` after it came. */
function pipe (from, to, delayMs) {
  from.on('data', bytes => setTimeout(() => { if (!to.destroyed) to.write(bytes) }, delayMs))
  from.on('close', () => setTimeout(() => to.destroy(), delayMs))
  from.on('error', () => {})
}

/**
 * Stands in for a server, for `door` and all that is given one.
 *
 * @param {import('node:test').TestContext} t whose end is the line's
 * @param {{ url: string }} server without TLS
 * @param {number} delayMs each way
 * @returns {Promise<{ url: string }>}
 */
export async function far (t, server, delayMs) {
  const { hostname, port, pathname } = new URL(server.url)
  const sockets = new Set()
  const line = net.createServer(near => {
    const distant = net.connect(Number(port), hostname)
    pipe(near, distant, delayMs)
    pipe(distant, near, delayMs)
    for (const socket of [near, distant]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    }
  })
  line.listen(0, '127.0.0.1')
  await once(line, 'listening')
  t.after(() => {
    line.close()
    for (const socket of sockets) socket.destroy()
  })
  const { port: own } = /** @type {net.AddressInfo} */ (line.address())
  return { url: `ws://127.0.0.1:${own}${pathname}` }
}
