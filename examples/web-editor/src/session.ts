/** The document, its provider, and who we are in it. This file is all that syncing takes. */
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

/** How others see a person; the editor's cursors read `name`, `color` and `colorLight`. */
export interface Person {
  name: string
  color: string
  colorLight: string
}

export interface Session {
  text: Y.Text
  provider: WebsocketProvider
  me: Person
}

/** Joins the document `name` on `server`, a URL that ends in `/ws`. */
export function joinDocument(server: string, name: string): Session {
  const doc = new Y.Doc()
  // The provider appends the name to the URL as it is, so it must be escaped here.
  const provider = new WebsocketProvider(server, encodeURIComponent(name), doc)
  const me = randomPerson()
  provider.awareness.setLocalStateField('user', me)
  return { text: doc.getText('text'), provider, me }
}

const NAMES = ['Otter', 'Heron', 'Lynx', 'Badger', 'Wren', 'Marten', 'Plover', 'Stoat', 'Swift', 'Vole']
const HUES = [4, 32, 88, 140, 172, 204, 236, 268, 300, 336]

function randomPerson(): Person {
  const hue = pick(HUES)
  return {
    name: pick(NAMES),
    color: `hsl(${String(hue)} 70% 42%)`,
    colorLight: `hsl(${String(hue)} 70% 42% / 0.2)`,
  }
}

function pick<T>(list: readonly T[]): T {
  const item = list[Math.floor(Math.random() * list.length)]
  if (item === undefined) throw new Error('nothing to pick from')
  return item
}
