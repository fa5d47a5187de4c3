/** Ports for servers that are started again at the same one. */
import { once } from 'node:events'
import net from 'node:net'

/** Below the ports that the system gives to who asks for any: nobody takes one while its server is away. */
const PORT_MIN = 20_000
const PORT_MAX = 31_999

/** Ports that servers of this process have. */
const taken = new Set()

/** A port of the loopback interface that was free a moment ago. */
export async function freePort () {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX + 1 - PORT_MIN))
    if (taken.has(port)) continue
    taken.add(port)
    const probe = net.createServer().listen(port, '127.0.0.1')
    try {
      await once(probe, 'listening')
    } catch {
      continue
    }
    probe.close()
    await once(probe, 'close')
    return port
  }
}
