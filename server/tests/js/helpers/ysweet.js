/** The y-sweet client and its server's SDK behind the face of `Peer`. */
import { createYjsProvider } from '@y-sweet/client'
import { DocumentManager } from '@y-sweet/sdk'
import { once } from 'node:events'
import http from 'node:http'
import { WebSocket } from 'ws'
import { Peer, yjs13 } from './clients.js'
import { door } from './server.js'
import { until } from './wait.js'

/** What an app's backend uses to speak with the server; `token` is its own. */
export function manager (server, token) {
  const { host: place, protocol } = new URL(door(server, '/', 'http:'))
  const scheme = protocol === 'https:' ? 'yss' : 'ys'
  return new DocumentManager(`${scheme}://${token === undefined ? '' : `${encodeURIComponent(token)}@`}${place}`)
}

/** A provider that asks for its client token by a function, or at the URL `options.authEndpoint`. */
export class YSweetPeer extends Peer {
  open (server, document, { authEndpoint, token, authorization, ...options }) {
    const backend = manager(server, token)
    const ask = () => backend.getOrCreateDocAndToken(document, authorization && { authorization })
    const provider = createYjsProvider(this.doc, document, authEndpoint ?? ask, {
      WebSocketPolyfill: WebSocket,
      showDebuggerLink: false,
      ...options
    })
    /** Every status since the first. */
    this.statuses = []
    provider.on('connection-status', status => this.statuses.push(status))
    provider.on('connection-close', event => this.noteClose(event))
    return provider
  }

  get isSynced () {
    return this.provider.status === 'connected'
  }

  /** How often it was connected: it ends a connection that is too quiet for it without saying so. */
  get connects () {
    return this.statuses.filter(status => status === 'connected').length
  }

  get isSaved () {
    return !this.provider.hasLocalChanges
  }

  saved () {
    return until(`${this.client.name} is saved`, () => this.isSaved)
  }

  cut () {
    this.provider.websocket?.terminate()
  }

  /** The provider comes back even from its own `disconnect` and `destroy`; this ends its attempts. */
  stayAway () {
    Object.assign(this.provider, {
      connect: async () => {},
      ensureClientToken: async () => ({}),
      attemptToConnect: async () => true
    })
  }

  disconnect () {
    this.stayAway()
    this.provider.disconnect()
    return this.disconnected()
  }

  get isDisconnected () {
    return this.provider.websocket.readyState === WebSocket.CLOSED
  }

  connect () {
    for (const method of ['connect', 'ensureClientToken', 'attemptToConnect']) delete this.provider[method]
    this.provider.connect()
  }

  destroy () {
    this.stayAway()
    this.provider.destroy()
    this.awareness.destroy()
    this.doc.destroy()
  }
}

export const YSWEET = { name: 'y-sweet 0.9', Peer: YSweetPeer, ...yjs13 }

/**
 * An app's backend: hands a client token to who asks for a document, as the documentation of y-sweet shows.
 *
 * @param {import('node:test').TestContext} t
 * @param {(docId: string) => Promise<object>} clientToken
 */
export async function authEndpoint (t, clientToken) {
  const endpoint = { asked: 0, url: '' }
  const listener = http.createServer(async (request, response) => {
    endpoint.asked++
    let body = ''
    for await (const chunk of request) body += chunk
    try {
      const token = await clientToken(JSON.parse(body).docId)
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(token))
    } catch (error) {
      response.statusCode = 502
      response.end(String(error))
    }
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.after(() => {
    listener.closeAllConnections()
    listener.close()
  })
  endpoint.url = `http://127.0.0.1:${listener.address().port}/`
  return endpoint
}
