/** Three generations of the Hocuspocus provider behind the face of `Peer`. */
import * as generation2 from 'hocuspocus-provider-2'
import * as generation3 from 'hocuspocus-provider-3'
import * as generation4 from 'hocuspocus-provider-4'
import { WebSocket } from 'ws'
import { Peer, yjs13 } from './clients.js'
import { door } from './server.js'
import { until } from './wait.js'

/** Seconds by default; the tests have many reconnects. Settings of the provider, nothing else is changed. */
const RECONNECT = { delay: 100, minDelay: 100, maxDelay: 1_000 }

/** As in a browser, an error that nobody listens to any more is no exception. */
class Socket extends WebSocket {
  constructor (...parameters) {
    super(...parameters)
    this.on('error', () => {})
  }
}

/** A socket that many providers may share; `path` is another door than the usual one. */
export function openSocket (client, server, { path = '/hocuspocus', ...options } = {}) {
  return new client.HocuspocusProviderWebsocket({
    url: door(server, path),
    WebSocketPolyfill: Socket,
    ...RECONNECT,
    ...options
  })
}

/** Generation 3 would come back from its own `destroy` when it was just about to reconnect. */
function closeSocket (socket) {
  socket.connect = async () => {}
  socket.destroy()
}

/** The same, destroyed when the test ends. */
export function sharedSocket (t, client, server, options) {
  const socket = openSocket(client, server, options)
  t.after(() => closeSocket(socket))
  return socket
}

/**
 * A provider with its document, on a socket of its own or on `options.socket`. `options.socketOptions` are
 * for the former; all others go to the provider, `document` among them.
 */
export class HocuspocusPeer extends Peer {
  open (server, document, { socket, socketOptions, ...options }) {
    this.doc = options.document ?? this.doc
    this.ownSocket = socket === undefined
    this.socket = socket ?? openSocket(this.client, server, socketOptions)
    this.socket.on('close', ({ event }) => this.noteClose(event))
    const provider = new this.client.HocuspocusProvider({
      websocketProvider: this.socket,
      name: document,
      document: this.doc,
      ...this.client.defaults,
      ...options
    })
    // Generation 2 attaches in its constructor.
    if (this.client.generation > 2) provider.attach()
    return provider
  }

  /** What the provider's user is told is not yet safe with the server. */
  get unsynced () {
    return this.provider.unsyncedChanges
  }

  /** Generation 2 may count below zero, see `offline.test.js`. */
  get isSaved () {
    return this.isSynced && this.unsynced <= 0
  }

  saved () {
    return until(`${this.client.name} is saved`, () => this.isSaved, undefined,
      () => `; ${this.unsynced} changes are unsynced`)
  }

  /** Resolves when the provider has said that it may read, and perhaps write. */
  authenticated () {
    return until(`${this.client.name} is authenticated`, () => this.provider.isAuthenticated)
  }

  cut () {
    this.socket.webSocket?.terminate()
  }

  stayAway () {
    this.socket.shouldConnect = false
  }

  /** Ends the socket, and with it all providers that share it. */
  disconnect () {
    this.socket.disconnect()
    return this.disconnected()
  }

  /** Before that `connect` would do nothing. */
  get isDisconnected () {
    return this.socket.status === 'disconnected'
  }

  connect () {
    this.socket.connect()
  }

  /** Takes this document off a socket that others go on using. */
  detach () {
    if (this.client.generation > 2) this.provider.detach()
    else this.provider.disconnect()
  }

  attach () {
    if (this.client.generation > 2) this.provider.attach()
    else this.provider.connect()
  }

  /** Hands a new token in over the same socket, as an app does after a refusal. */
  authenticateAgain (token) {
    this.provider.configuration.token = token
    // Generation 2 has detached itself when it was refused.
    if (this.client.generation === 2) return this.attach()
    this.provider.sendToken()
    this.provider.startSync()
  }

  destroy () {
    this.provider.destroy()
    if (this.ownSocket) closeSocket(this.socket)
    this.awareness?.destroy()
    this.doc.destroy()
  }
}

const client = (version, module, defaults = {}) => ({
  name: `hocuspocus ${version}`,
  generation: Math.floor(version),
  Peer: HocuspocusPeer,
  defaults,
  ...module,
  ...yjs13
})

/** Every generation that must work as it is. */
export const HOCUSPOCUS = [
  // Like `disableBc` of y-websocket.
  client(2.15, generation2, { broadcast: false }),
  client(3.4, generation3),
  client(4.8, generation4)
]
