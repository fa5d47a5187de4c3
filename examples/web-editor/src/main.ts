/** Puts the page together: a session for the document that the address names, and three views of it. */
import './style.css'
import { showConnection } from './connection'
import { openEditor } from './editor'
import { showPeople } from './people'
import { joinDocument } from './session'

const parameters = new URLSearchParams(window.location.search)
const name = parameters.get('document') ?? 'hello'
const server = parameters.get('server') ?? `ws://${window.location.hostname}:8080/ws`

const session = joinDocument(server, name)
element('document').textContent = name
document.title = `${name} · Driftless editor`
showConnection(session, element('connection'))
showPeople(session, element('people'))
openEditor(session, element('editor'))

function element(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`index.html has no element #${id}`)
  return found
}
