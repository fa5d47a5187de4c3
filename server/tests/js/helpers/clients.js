/** The unmodified clients from npm behind one small face, so that tests can pair any with any. */
import { Doc as Doc14 } from '@y/y'
import { WebsocketProvider as Provider4 } from '@y/websocket'
import { WebSocket } from 'ws'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { WebsocketProvider as Provider3 } from 'y-websocket'
import { Doc as Doc13 } from 'yjs'
import { until } from './wait.js'

/** Each provider listens for the end of the process; there are more here than Node expects. */
process.setMaxListeners(100)

export const yjs13 = {
  Doc: Doc13,
  text: doc => doc.getText('t'),
  set: (doc, key, value) => doc.getMap('m').set(key, value),
  entries: doc => doc.getMap('m').toJSON()
}

const yjs14 = {
  Doc: Doc14,
  text: doc => doc.get('t'),
  set: (doc, key, value) => doc.get('m').setAttr(key, value),
  entries: doc => doc.get('m').getAttrs()
}

/** The y-websocket clients; those of other dialects are in `hocuspocus.js` and `ysweet.js`. */
export const CLIENTS = [
  { name: 'y-websocket 3.1', Provider: Provider3, ...yjs13 },
  { name: 'y-websocket 2.1', Provider: Provider2, ...yjs13 },
  { name: '@y/websocket 4', Provider: Provider4, ...yjs14 }
]

/** Every unordered pair of clients, each with itself included. */
export const PAIRS = CLIENTS.flatMap((first, index) =>
  CLIENTS.slice(index).map(second => [first, second]))

/** One provider with its document: a browser tab, in effect. Other dialects override how it connects. */
export class Peer {
  constructor (client, server, document, options = {}) {
    this.client = client
    this.doc = new client.Doc()
    this.closes = 0
    /** How and when connections ended, for messages. */
    this.farewells = []
    this.provider = this.open(server, document, options)
    this.awareness = this.provider.awareness
  }

  /** Makes the provider, which connects by itself. */
  open (server, document, options) {
    const provider = new this.client.Provider(server.url, document, this.doc, {
      WebSocketPolyfill: WebSocket,
      // In Node the fallback would connect the providers of one process behind the server's back.
      disableBc: true,
      ...options
    })
    provider.on('connection-close', event => this.noteClose(event))
    return provider
  }

  /** Each way of ending a connection has a code, but for the client's own. */
  noteClose (event) {
    this.closes++
    this.farewells.push(`${new Date().toISOString()} ${event?.code} ${event?.reason}`)
  }

  get id () {
    return this.awareness.clientID
  }

  get text () {
    return this.client.text(this.doc).toString()
  }

  /** The shared map as plain data with sorted keys. */
  get entries () {
    return Object.fromEntries(Object.entries(this.client.entries(this.doc)).sort())
  }

  /** All that is compared. */
  get state () {
    return JSON.stringify([this.text, this.entries])
  }

  insert (at, text) {
    this.client.text(this.doc).insert(at, text)
  }

  append (text) {
    this.insert(this.client.text(this.doc).length, text)
  }

  remove (at, length) {
    this.client.text(this.doc).delete(at, length)
  }

  set (key, value) {
    this.client.set(this.doc, key, value)
  }

  present (state) {
    this.awareness.setLocalState(state)
  }

  /** What this peer knows of another's presence. */
  sees (other) {
    return this.awareness.getStates().get(other.id)
  }

  get isSynced () {
    return this.provider.synced
  }

  synced () {
    return until(`${this.client.name} is synced`, () => this.isSynced)
  }

  /** Cuts the socket as a dying network does: without a goodbye. The provider reconnects. */
  cut () {
    this.provider.ws?.terminate()
  }

  /** Resolves when this peer has lost so many connections. */
  closed (closes) {
    return until(`${this.client.name} lost ${closes} connections`, () => this.closes >= closes)
  }

  /** The next end of the socket is the last, until `connect`. */
  stayAway () {
    this.provider.shouldConnect = false
  }

  disconnect () {
    this.provider.disconnect()
    return this.disconnected()
  }

  get isDisconnected () {
    return !this.provider.wsconnected
  }

  disconnected () {
    return until(`${this.client.name} is disconnected`, () => this.isDisconnected)
  }

  connect () {
    this.provider.connect()
  }

  destroy () {
    this.provider.destroy()
    this.awareness.destroy()
    this.doc.destroy()
  }
}

/**
 * A synced peer that is destroyed when the test ends.
 *
 * @param {import('node:test').TestContext} t
 */
export async function join (t, client, server, document, options) {
  const peer = new (client.Peer ?? Peer)(client, server, document, options)
  t.after(() => peer.destroy())
  await peer.synced()
  return peer
}

/** Resolves when all peers hold the same state. */
export function converged (...peers) {
  return until(
    'all peers are equal',
    () => peers.every(peer => peer.state === peers[0].state),
    undefined,
    () => peers.map(peer => `\n${peer.client.name}: ${peer.state.slice(0, 500)}`).join('')
  )
}
