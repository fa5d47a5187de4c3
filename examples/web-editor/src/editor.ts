/** CodeMirror 6 over the shared text: remote cursors, and an undo that is only our own. */
import { defaultKeymap } from '@codemirror/commands'
import { EditorState } from '@codemirror/state'
import { drawSelection, EditorView, keymap, lineNumbers, placeholder } from '@codemirror/view'
import { yCollab, yUndoManagerKeymap } from 'y-codemirror.next'
import * as Y from 'yjs'
import type { Session } from './session'

/** Shows the shared text in `place`. */
export function openEditor({ text, provider }: Session, place: HTMLElement): EditorView {
  const undoManager = new Y.UndoManager(text)
  const state = EditorState.create({
    doc: text.toJSON(),
    extensions: [
      lineNumbers(),
      drawSelection(),
      EditorView.lineWrapping,
      placeholder('Type something. Everyone who opens this document sees it at once.'),
      keymap.of([...yUndoManagerKeymap, ...defaultKeymap]),
      yCollab(text, provider.awareness, { undoManager }),
    ],
  })
  const view = new EditorView({ state, parent: place })
  view.focus()
  return view
}
