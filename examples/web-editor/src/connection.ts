/** Says in words whether edits reach the server right now. */
import type { Session } from './session'

type State = 'connecting' | 'live' | 'offline' | 'closed'

const WORDS: Record<State, string> = {
  connecting: 'Connecting…',
  live: 'Live',
  offline: 'Offline: you can go on typing',
  closed: 'Closed by the server',
}

/** Keeps `place` up to date. */
export function showConnection({ provider }: Session, place: HTMLElement): void {
  const show = (state: State, detail = ''): void => {
    place.dataset.state = state
    place.textContent = detail === '' ? WORDS[state] : `${WORDS[state]}: ${detail}`
  }
  show('connecting')
  provider.on('status', ({ status }) => {
    if (status === 'disconnected') show('offline')
  })
  provider.on('sync', (synced) => {
    if (synced) show('live')
  })
  // Codes 4400-4499 are final: the document was deleted, say, or the name is not allowed.
  provider.on('closed', ({ reason }) => {
    show('closed', reason)
  })
}
