/** A Tiptap editor as its documentation sets it up; the URL of the provider is all that is Driftless's. */
import './style.css'
import { HocuspocusProvider } from '@hocuspocus/provider'
import { Editor } from '@tiptap/core'
import { Collaboration } from '@tiptap/extension-collaboration'
import { CollaborationCaret } from '@tiptap/extension-collaboration-caret'
import { StarterKit } from '@tiptap/starter-kit'
import * as Y from 'yjs'

const NAMES = ['Otter', 'Heron', 'Lynx', 'Badger', 'Wren', 'Marten', 'Plover', 'Stoat', 'Swift', 'Vole']
const HUES = ['#c0392b', '#a0522d', '#7d6608', '#1e8449', '#117a65', '#1f618d', '#6c3483', '#943166']

const parameters = new URLSearchParams(window.location.search)
const document = new Y.Doc()

const provider = new HocuspocusProvider({
  url: parameters.get('server') ?? `ws://${window.location.hostname}:8080/hocuspocus`,
  name: parameters.get('document') ?? 'hello',
  document,
  // On a server with keys: a token of `driftless token`.
  token: parameters.get('token'),
})

const user = { name: parameters.get('name') ?? pick(NAMES), color: pick(HUES) }

new Editor({
  element: element('editor'),
  autofocus: 'end',
  extensions: [
    // Undo is the collaboration's own.
    StarterKit.configure({ undoRedo: false }),
    Collaboration.configure({ document }),
    CollaborationCaret.configure({ provider, user }),
  ],
})

/** With Driftless "saved" means: committed to its store. */
function showSaved(): void {
  const state = provider.hasUnsyncedChanges || !provider.synced ? 'saving' : 'saved'
  const place = element('saved')
  place.dataset.state = state
  place.textContent = state === 'saved' ? 'Saved' : 'Not saved yet'
}
for (const event of ['unsyncedChanges', 'synced', 'close']) provider.on(event, showSaved)
showSaved()

function element(id: string): HTMLElement {
  const found = window.document.getElementById(id)
  if (found === null) throw new Error(`index.html has no element #${id}`)
  return found
}

function pick(list: readonly string[]): string {
  return list[Math.floor(Math.random() * list.length)] ?? ''
}
