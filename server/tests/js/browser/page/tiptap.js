/** A Tiptap editor as its documentation sets it up; only the URL of its provider is Driftless's. */
import { Editor } from '@tiptap/core'
import { Collaboration } from '@tiptap/extension-collaboration'
import { CollaborationCaret } from '@tiptap/extension-collaboration-caret'
import { StarterKit } from '@tiptap/starter-kit'
import { HocuspocusProvider as Provider2 } from 'hocuspocus-provider-2'
import { HocuspocusProvider as Provider3 } from 'hocuspocus-provider-3'
import { HocuspocusProvider as Provider4 } from 'hocuspocus-provider-4'
import * as Y from 'yjs'

const PROVIDERS = { 2: Provider2, 3: Provider3, 4: Provider4 }

const parameters = new URLSearchParams(window.location.search)
const name = parameters.get('tab')
const doc = new Y.Doc()

const provider = new PROVIDERS[parameters.get('generation')]({
  // The query is for the test's cables.
  url: `ws://${parameters.get('host')}/hocuspocus?tab=${name}`,
  name: parameters.get('document'),
  document: doc
})

const editor = new Editor({
  element: document.body.appendChild(document.createElement('main')),
  extensions: [
    // Undo is the collaboration's own.
    StarterKit.configure({ undoRedo: false }),
    Collaboration.configure({ document: doc }),
    CollaborationCaret.configure({ provider, user: { name, color: '#a03050' } })
  ]
})

window.tab = {
  synced: () => provider.synced,
  unsynced: () => provider.unsyncedChanges,
  connected: () => provider.configuration.websocketProvider.status === 'connected',
  html: () => editor.getHTML(),
  /** Whose cursors are shown. */
  carets: () => [...document.querySelectorAll('.collaboration-carets__label')].map(label => label.textContent).sort(),
  /** What is left of a caret in its paragraph. */
  before: owner => {
    const carets = [...document.querySelectorAll('.collaboration-carets__caret')]
    const caret = carets.find(caret => caret.textContent.includes(owner))
    if (!caret) return null
    const range = document.createRange()
    range.setStart(caret.closest('p'), 0)
    range.setEndBefore(caret)
    const left = range.cloneContents()
    left.querySelectorAll('.collaboration-carets__caret').forEach(other => other.remove())
    // Word joiners keep carets apart from the text.
    return left.textContent.replaceAll('\u2060', '')
  },
  users: () => editor.storage.collaborationCaret.users.map(user => user.name).sort(),
  bold: () => editor.chain().focus().toggleBold().run(),
  undo: () => editor.commands.undo()
}
