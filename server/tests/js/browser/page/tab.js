/** What runs in a tab: the plain provider, BroadcastChannel on, within reach of the test. */
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

const parameters = new URLSearchParams(window.location.search)
const doc = new Y.Doc()
const provider = new WebsocketProvider(`ws://${parameters.get('host')}/ws`, parameters.get('document'), doc, {
  // No part of the name of the BroadcastChannel, so the tabs hear each other all the same.
  params: { tab: parameters.get('tab') }
})
const text = doc.getText('t')

window.tab = {
  /** Set when the server said that coming back is pointless. */
  closed: null,
  closes: 0,
  id: doc.clientID,
  append: added => text.insert(text.length, added),
  prepend: added => text.insert(0, added),
  text: () => text.toString(),
  entries: () => text.toDelta(),
  present: state => provider.awareness.setLocalState(state),
  presence: () => [...provider.awareness.getStates().values()].map(state => state.name).sort(),
  connected: () => provider.wsconnected,
  synced: () => provider.synced,
  disconnect: () => provider.disconnect(),
  connect: () => provider.connect()
}
provider.on('closed', event => { window.tab.closed = event })
provider.on('connection-close', () => { window.tab.closes++ })
